-- Give the next piece of the job to a worker.
-- ARGV: identifier of the claim, seconds of the lease, identifier of the worker's network.
-- Returns the index of the piece, the number of the attempt, and 1 if a message must be sent for
-- more work; nil if there is nothing to do.
local holder, lease_s, model = ARGV[1], tonumber(ARGV[2]), ARGV[3]

-- Segments of two networks do not fit together. If the worker has another network, the job begins
-- again, unless some worker still uses the first network.
local function adopt_model()
  if get("model") == model then return true end
  if redis.call("ZCOUNT", job_key("leases"), now(), "+inf") > 0 then return false end
  drop_work()
  add_work()
  change("model", model, "frames_done", 0)
  return true
end

redis.call("HDEL", job, "notified")
if not is_active() or not adopt_model() then return nil end
local index = next_piece()
if not index then return nil end
local time = now()
redis.call("ZREM", job_key("todo"), index)
redis.call("ZADD", job_key("leases"), precise(time + lease_s), index)
redis.call("HSET", job_key("holders"), index, holder)
local attempt = redis.call("HINCRBY", job_key("tries"), index, 1)
set_frames(index, 0)
if get("state") == "queued" then
  redis.call("ZREM", shared_key("waiting"), id)
  change("state", "running")
  if not get("started") then change("started", precise(time)) end
  redis.call("HSET", job, "measured", precise(time), "measured_frames", number("frames_done"))
end
return {tonumber(index), attempt, needs_message()}
