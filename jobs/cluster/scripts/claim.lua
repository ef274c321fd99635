-- Give a worker a piece of the job: its index, for the how manieth time, whether there is
-- more for others; nothing if there is nothing to do.
-- ARGV: the worker's word for it, seconds of the lease.
local holder, lease_s = ARGV[1], tonumber(ARGV[2])

redis.call("HDEL", job, "told")
if not is_active() then return nil end
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
