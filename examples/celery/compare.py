"""Runs the import three times side by side: in Celery as it is, its parent moved to homing, its children too.

    cargo build --example celery_parent --example celery_children --features celery
    python -m venv venv && venv/bin/pip install 'celery[redis]==5.7.0'
    venv/bin/python examples/celery/compare.py target/debug/examples

The three steps are programs of their own, in `a_celery`, `b_parent` and `c_children`: `diff` shows what each changes. It starts a Redis server, Celery workers and homing's program of its own, and ends them. Of each step it prints how
late the parent went on after its last child, how many of Celery's slots parents held while they waited, how many reads
of results a second they made, and what became of an import whose parent's process was killed as by `kill -9`.
"""

import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from redis.exceptions import ConnectionError

HERE = Path(__file__).resolve().parent
SLOTS, IMPORTS, PAGES = 8, 4, 12
STEPS = [("in Celery", "a_celery"), ("parent in homing", "b_parent"), ("children too", "c_children")]


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class World:
    """A step's processes, each in a group of its own, so that one and what it has started are killed at once."""

    def __init__(self, folder, programs, step):
        self.folder, self.step = folder, step
        # b_parent is the program celery_parent; a_celery has none.
        self.homing = programs / f"celery_{step[2:]}" if step != "a_celery" else None
        self.port = free_port()
        self.environment = os.environ | {
            "SHOP_REDIS": f"redis://127.0.0.1:{self.port}/0",
            "PYTHONPATH": str(HERE / step),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.running = {}
        self.start("redis", ["redis-server", "--port", str(self.port), "--save", "", "--dir", str(folder)])

    def start(self, name, command):
        log = open(self.folder / f"{name}.log", "ab")
        self.running[name] = subprocess.Popen(
            command, env=self.environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True)

    def celery(self):
        self.start("celery", [sys.executable, "-m", "celery", "-A", "shop", "worker", "-l", "WARNING",
                              "--concurrency", str(SLOTS), "--without-gossip", "--without-mingle"])

    def parents(self):
        """What runs the parents: Celery's worker, or homing's program beside it."""
        if self.homing:
            self.start("homing", [str(self.homing), "--store", f"sqlite:{self.folder}/shop.db"])
        else:
            self.celery()

    def kill(self, name, how=signal.SIGKILL):
        process = self.running.pop(name)
        os.killpg(process.pid, how)
        process.wait()

    def end(self):
        for name in list(self.running)[::-1]:
            self.kill(name)


def measured(name, own, folder, programs):
    """One step: four imports at once, then one whose parent's process is killed."""
    world = World(folder, programs, own)
    try:
        step(world, name)
        gc.collect()  # results say good-bye to the server while it is there
    finally:
        world.end()


def step(world, name):
    os.environ.update(world.environment)
    sys.modules.pop("shop", None)
    sys.path.insert(0, str(HERE / world.step))
    import shop
    redis = shop.Redis.from_url(shop.URL)
    while True:
        try:
            redis.ping()
            break
        except ConnectionError:
            time.sleep(0.05)
    if world.homing:
        world.celery()
    world.parents()
    shop.import_feed.delay("warm", 1).get(timeout=60)

    def reads():
        stats = redis.info("commandstats")
        return sum(stats.get(f"cmdstat_{verb}", {}).get("calls", 0) for verb in ("get", "mget"))

    before, start = reads(), time.monotonic()
    imports = [shop.import_feed.delay(f"feed{n}", PAGES) for n in range(IMPORTS)]
    ended, held = threading.Event(), 0

    def wait():
        for one in imports:  # hears the results, and does not read them again and again
            one.get(timeout=120)
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    while not ended.wait(0.2):
        active = shop.app.control.inspect(timeout=0.2).active() or {}
        tasks = [task for worker, tasks in active.items() if worker.startswith("celery@") for task in tasks]
        held = max(held, sum(task["name"] == "shop.import_feed" for task in tasks))
    took = time.monotonic() - start
    asked = reads() - before
    late = max(one.result["late"] * 1000 for one in imports)

    doomed = shop.import_feed.delay("doomed", PAGES)
    # Once some of its pages are written. In the third step homing alone knows of them.
    while world.step != "c_children" and int(redis.get("shop:writes:doomed") or 0) < 2:
        time.sleep(0.02)
    time.sleep(0.3)
    world.kill("homing" if world.homing else "celery")
    world.parents()
    try:
        fate = f"went on and ended with {doomed.get(timeout=20)['rows']} rows"
    except Exception:
        fate = f"never ended: {doomed.state} after 20 s"
    print(f"{name:17} {took:7.1f} {late:9.0f} {held:6} {asked / took:8.1f}  {fate}", flush=True)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    programs = Path(sys.argv[1]).resolve()
    print(f"{IMPORTS} imports of {PAGES} pages at once, {SLOTS} slots in Celery")
    print(f"{'step':17} {'seconds':>7} {'late, ms':>9} {'slots':>6} {'reads/s':>8}  kill -9 of the parent's process")
    for name, own in STEPS:
        folder = Path(tempfile.mkdtemp(prefix="homing-compare-"))
        try:
            measured(name, own, folder, programs)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.flush()
    os._exit(0)  # Celery's results would say good-bye to servers that are gone


main()
