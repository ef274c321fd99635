-- Give a worker a piece of the job: its index, for the how manieth time, whether there is
-- more for others; nothing if there is nothing to do.
-- ARGV: the worker's word for it, seconds of the lease, the network it computes with.
local holder, lease_s, model = ARGV[1], tonumber(ARGV[2]), ARGV[3]

-- Segments of two networks do not go together: with another one, all begins again, unless
-- somebody is still at work with the first.
local function adopt()
  if get("model") == model then return true end
  if redis.call("ZCOUNT", part("leases"), now(), "+inf") > 0 then return false end
  drop_work()
  add_work()
  change("model", model, "frames_done", 0)
  return true
end

redis.call("HDEL", job, "told")
if not is_active() or not adopt() then return nil end
local index = next_piece()
if not index then return nil end
local time = now()
redis.call("ZREM", part("todo"), index)
redis.call("ZADD", part("leases"), precise(time + lease_s), index)
redis.call("HSET", part("holders"), index, holder)
local try = redis.call("HINCRBY", part("tries"), index, 1)
set_frames(index, 0)
if get("state") == "queued" then
  redis.call("ZREM", all("waiting"), id)
  change("state", "running")
  if not get("started") then change("started", precise(time)) end
  redis.call("HSET", job, "measured", precise(time), "measured_frames", number("frames_done"))
end
return {tonumber(index), try, needs_message()}
