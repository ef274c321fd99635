-- End a job that is not at its end; forget one that succeeded or failed.
-- ARGV: seconds to keep what is known of it, seconds that its files stay for who reads them.
-- Returns what became of it.
local state = get("state")

if is_active() then
  redis.call("HSET", all("bytes"), id, 0)
  conclude("cancelled", tonumber(ARGV[1]))
  return "cancelled"
elseif state == "succeeded" or state == "failed" then
  forget(tonumber(ARGV[2]))
  return "forgotten"
end
return "nothing"
