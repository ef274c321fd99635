-- Let go of a piece that is not done. ARGV: index, holder, 1 if that is nobody's fault.
-- Returns whether a message must be sent.
local index, holder, is_blameless = unpack(ARGV)

if not is_active() or redis.call("HGET", part("holders"), index) ~= holder then return 0 end
drop_lease(index)
set_frames(index, 0)
redis.call("ZADD", part("todo"), index, index)
if is_blameless == "1" then redis.call("HINCRBY", part("tries"), index, -1) end
if redis.call("ZCARD", part("leases")) == 0 and redis.call("HLEN", part("parts")) == 0 then
  redis.call("ZADD", all("waiting"), get("created"), id)
  change("state", "queued")
end
return needs_message()
