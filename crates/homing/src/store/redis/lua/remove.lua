-- `remove`: a job that has ended goes for good. Asked: job.
local GONE, MORE, OPEN = 0, 1, 2

local job = asked[4][1]
local root = root_of(job)
if not root then
  return answer_only(false)
end
if root.state < SUCCEEDED then
  return answer_only({ OPEN })
end
if is_settling(job) and cascade() then
  return commit({ MORE })
end
forget(job)
return commit({ GONE })
