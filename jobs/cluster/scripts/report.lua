-- A sign of life of who holds a piece. "ours" if it is still his, "lost" if it is somebody
-- else's or done, "over" if nobody needs it any more.
-- ARGV: index, holder, seconds of the lease, frames done or nothing.
local index, holder, lease_s, frames = unpack(ARGV)

if not is_active() then return "over" end
if redis.call("HGET", part("holders"), index) ~= holder then return "lost" end
redis.call("ZADD", part("leases"), precise(now() + lease_s), index)
if frames ~= "" then set_frames(index, tonumber(frames)) end
return "ours"
