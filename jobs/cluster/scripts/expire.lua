-- Forget the job if it has expired; do nothing if it is forgotten already.
if get("expires") and number("expires") <= now() then forget(0) end
