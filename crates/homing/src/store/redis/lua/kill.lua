-- For tests: a worker is dead, as far as anybody can tell. Asked: worker.

local worker = asked[4][1]
if get(K.workers, worker) then
  zadd(K.leases, worker, -math.huge)
  told.ready = true
end
return commit(true)
