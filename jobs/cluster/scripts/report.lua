-- Renew the lease of a worker, and record its progress.
-- ARGV: index of the piece, identifier of the claim, seconds of the lease, frames done or "".
-- Returns "ours" if the worker still has the piece, "lost" if another worker has it or it is done,
-- "over" if the job has ended.
local index, holder, lease_s, frames = unpack(ARGV)

if not is_active() then return "over" end
if redis.call("HGET", job_key("holders"), index) ~= holder then return "lost" end
redis.call("ZADD", job_key("leases"), precise(now() + lease_s), index)
if frames ~= "" then set_frames(index, tonumber(frames)) end
return "ours"
