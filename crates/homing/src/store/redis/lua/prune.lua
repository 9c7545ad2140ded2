-- `prune`: finished jobs go for good. Asked: the instant before which they ended, how many at most.

local before, limit = asked[4][1], asked[4][2]
local gone = 0
local more = false
for _, each in ipairs(by_score(K.settled, before, 2 * limit)) do
  if each[2] < before and not is_settling(each[1]) then
    if gone == limit then
      more = true
      break
    end
    forget(each[1])
    gone = gone + 1
  end
end
return commit({ gone, more })
