-- What wrk sends: the requests in a file, in turn, one a line: METHOD PATH [BODY], where %d is a number that
-- is never the same twice. Arguments: the file, the first number.
local requests, at, number = {}, 0, 0

function init(args)
  number = tonumber(args[2])
  for line in io.lines(args[1]) do
    local method, path, body = line:match("^(%S+) (%S+) ?(.*)$")
    requests[#requests + 1] = {method, path, body}
  end
end

function request()
  at = at % #requests + 1
  number = number + 1
  local method, path, body = unpack(requests[at])
  if body == "" then return wrk.format(method, path) end
  return wrk.format(method, path, {["Content-Type"] = "application/json"}, (body:gsub("%%d", number)))
end

function done(summary, latency, requests)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format(
    'RESULT {"requests": %d, "seconds": %f, "refused": %d, "failed": %d, "p50": %f, "p99": %f}\n',
    summary.requests, summary.duration / 1e6, summary.errors.status, failed,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6))
end
