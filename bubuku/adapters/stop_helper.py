"""Sends SIGTERM to one process, or dies of its own timer: a program of its own, run by `adapters.process.send_stop`.

    python -I -S stop_helper.py PIDFD DEADLINE

`DEADLINE` is of the monotonic clock, in seconds. The timer is armed first, and the clock read once more after it:
frozen before that, it finds the deadline passed; frozen after it, it is killed by the timer when it is thawed, before
it runs another instruction of its own. So a verdict that has grown old stops nothing, whoever was frozen in between.
Whoever starts the daemon may have it ignore, or block, SIGALRM, and that is inherited: it is undone first.
Exit codes: 0 sent, 1 too late, 2 the process is gone; killed by SIGALRM: too late.
"""

import signal
import sys
import time


def main(pidfd: int, deadline: float) -> int:
    left = deadline - time.monotonic()
    if left <= 0:
        return 1
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    signal.setitimer(signal.ITIMER_REAL, left)
    if time.monotonic() >= deadline:
        return 1
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
    except ProcessLookupError:
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2])))
