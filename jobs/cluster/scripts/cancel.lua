-- Cancel an active job, or forget one that succeeded or failed.
-- ARGV: seconds to keep the cancelled job, seconds to keep the files of a forgotten one.
-- Returns "cancelled", "forgotten" or "nothing".
local state = get("state")

if is_active() then
  redis.call("HSET", shared_key("bytes"), id, 0)
  conclude("cancelled", tonumber(ARGV[1]))
  return "cancelled"
elseif state == "succeeded" or state == "failed" then
  forget(tonumber(ARGV[2]))
  return "forgotten"
end
return "nothing"
