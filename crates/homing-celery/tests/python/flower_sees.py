"""What Flower shows of homing's worker and of its tasks. Argument: its port. One line of JSON."""

import json
import sys
import time
import urllib.error
import urllib.request

from shop import h_add, h_fail

base = f"http://127.0.0.1:{sys.argv[1]}/api"


def read(path):
    """None until Flower is up and knows enough to answer. It asks its workers for as long as `--inspect_timeout` says."""
    try:
        with urllib.request.urlopen(base + path, timeout=30) as answer:
            return json.load(answer)
    except (urllib.error.URLError, OSError):
        return None


def until(look):
    """What `look` brings once it brings something, or None: a bound on a hang, not a measure."""
    for _ in range(600):
        found = look()
        if found:
            return found
        time.sleep(0.05)
    return None


def shown(worker):
    workers = read("/workers?refresh=1") or {}
    return workers.get(worker) if "h.add" in (workers.get(worker) or {}).get("registered", []) else None


def shown_task(send, state):
    """A task as Flower shows it once it has this state. Events that nobody listens to are gone, and nothing tells when
    Flower has begun to listen: so one task after the other is sent until one is shown."""
    for _ in range(60):
        result = send()
        result.get(timeout=30, propagate=False)
        for _ in range(20):
            task = (read("/tasks") or {}).get(result.id)
            if task and task["state"] == state:
                return task
            time.sleep(0.05)
    return None


worker = until(lambda: shown("homing@test"))
tasks = [shown_task(lambda: h_add.delay(1, 2), "SUCCESS"), shown_task(lambda: h_fail.delay("gone"), "FAILURE")]
print(json.dumps({
    "queues": [queue["name"] for queue in worker["active_queues"]],
    "pong": worker["stats"]["pool"]["implementation"],
    "tasks": [task and [task["name"], task["worker"], task.get("result"), task.get("exception")] for task in tasks],
}))
