import sys
import threading
import time

from agent_runtime.profiling.sampling import DEEPEST, Sampler, functions


def spin(until: threading.Event) -> None:
    while not until.is_set():
        sum(range(200))


def test_working_threads_weigh_what_they_used_and_waiting_ones_nothing() -> None:
    ended, interval = threading.Event(), sys.getswitchinterval()
    worker = threading.Thread(target=spin, args=(ended,), name="worker")
    waiter = threading.Thread(target=ended.wait, name="waiter")
    sampler = Sampler()
    worker.start(), waiter.start()
    before_ns = time.process_time_ns()
    sampler.start()
    assert sys.getswitchinterval() < interval
    while not sampler._used_ns:  # a busy machine takes its time until the first look
        time.sleep(0.001)
    began_ns, used_ns = time.process_time_ns(), 0
    while used_ns < 500_000_000:
        time.sleep(0.02)
        used_ns = time.process_time_ns() - began_ns
    stacks = sampler.stop()
    most_ns = time.process_time_ns() - before_ns
    ended.set()
    worker.join(), waiter.join()
    assert sys.getswitchinterval() == interval
    spinning = sum(weight for stack, weight in stacks.items() if any(name.endswith(".spin") for name in stack))
    assert 0.6 * used_ns < spinning <= 1.1 * most_ns
    waiting = sum(weight for stack, weight in stacks.items() if stack[0] == "waiter")
    assert waiting < 0.02 * used_ns, "what it takes to go to sleep"
    assert not [stack for stack in stacks if stack[0] == "profiler"]


def test_a_deep_stack_is_cut_at_its_leaf() -> None:
    def deeper(left: int) -> list[str]:
        return deeper(left - 1) if left else functions(sys._getframe())

    found = deeper(3 * DEEPEST)
    assert len(found) == DEEPEST
    assert not found[0].endswith("deeper")
