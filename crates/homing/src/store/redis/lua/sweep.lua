-- `sweep`: a bounded part of the upkeep. Asked: crashes in a row after which a task fails.

local dead, due, falling = sweep(asked[4][1])
wake_parents()
return commit(dead or due or falling)
