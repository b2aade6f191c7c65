-- Asks for the same paths as a listing of the whole catalogue, again and again: one after another, over kept connections.
-- Arguments: a file with the value of the Authorization header, and one with a path in each line.
local paths, headers, asked = {}, {}, 0

function init(arguments)
  for line in io.lines(arguments[1]) do headers["Authorization"] = line end
  for line in io.lines(arguments[2]) do paths[#paths + 1] = line end
end

function request()
  asked = asked % #paths + 1
  return wrk.format("GET", paths[asked], headers)
end

function done(summary)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  print(string.format('{"requests": %d, "seconds": %f, "failed": %d}', summary.requests, summary.duration / 1e6, failed))
end
