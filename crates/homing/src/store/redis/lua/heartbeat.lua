-- `heartbeat`: announces a worker or renews its lease.
-- Asked: worker, whether it is the first, lease, name, what people read, kinds and their arguments.

local worker, is_first, lease, name = asked[4][1], asked[4][2], asked[4][3], asked[4][4]
local known = get(K.workers, worker)
if not known and not is_first then
  return answer_only(false)
end
local started = known and cmsgpack.unpack(known)[1] or now
put(K.workers, worker, cmsgpack.pack({ started, now, lease, name, asked[4][5] }))
zadd(K.leases, worker, now + lease)
if not known then
  for _, kind in ipairs(asked[4][6]) do
    put(K.kinds, kind[1], kind[2])
  end
end
return commit(true)
