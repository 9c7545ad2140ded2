-- The removal of jobs that have ended.

-- Whether a cancellation is still on its way down the job.
local function is_settling(job)
  local blob = get(LANE .. 'j:' .. job, 'n')
  return (jobs[job] and jobs[job].cascades or blob and cmsgpack.unpack(blob)[9] or 0) > 0
end

local function forget(job)
  zrem(K.jobs, job)
  zrem(K.ids, job)
  zrem(K.settled, job)
  zrem(K.failed, job)
  unlinked[job] = true
end
