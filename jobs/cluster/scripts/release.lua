-- Give up a piece that is not done.
-- ARGV: index of the piece, identifier of the claim, 1 if the attempt counts, else 0.
-- Returns 1 if a message must be sent, else 0.
local index, holder, is_counted = unpack(ARGV)

if not is_active() or redis.call("HGET", job_key("holders"), index) ~= holder then return 0 end
drop_lease(index)
set_frames(index, 0)
redis.call("ZADD", job_key("todo"), index, index)
if is_counted == "0" then redis.call("HINCRBY", job_key("tries"), index, -1) end
if redis.call("ZCARD", job_key("leases")) == 0 and redis.call("HLEN", job_key("parts")) == 0 then
  redis.call("ZADD", shared_key("waiting"), get("created"), id)
  change("state", "queued")
end
return needs_message()
