-- Cancel an active job, or forget one that has ended.
-- ARGV: seconds to keep the cancelled job, seconds after which to delete the files of a forgotten
-- job that has no result.
-- Returns "cancelled", "forgotten" or "nothing".
if is_active() then
  redis.call("HSET", shared_key("bytes"), id, 0)
  conclude("cancelled", tonumber(ARGV[1]))
  return "cancelled"
elseif get("state") then
  forget(get("result") and 0 or tonumber(ARGV[2]))
  return "forgotten"
end
return "nothing"
