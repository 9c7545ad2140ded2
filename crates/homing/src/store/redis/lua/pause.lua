-- `pause`: stops or resumes claims from a queue. Asked: queue, whether they are stopped.

put(K.paused, asked[4][1], asked[4][2] and '1')
if not asked[4][2] then
  told.ready = true
end
return commit(true)
