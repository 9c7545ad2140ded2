-- `leave`: forgets a worker; what it still holds becomes pending at once. Asked: worker.
-- `true` if there is more to do.

local worker = asked[4][1]
local held = held_by(worker, HELD + 1)
for at = 1, math.min(#held, HELD) do
  release(touch(task(held[at])), now - RESUMED_AGE)
end
if #held <= HELD then
  forget_worker(worker)
end
return commit(#held > HELD)
