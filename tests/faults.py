"""Processes that die, or meet a full disk, at a chosen change of the disk.

A forked copy of this process does the work, under an audit hook that counts
what changes the disk: files opened for writing, renames, removals, folders
made, syncs. So every boundary can be tried, each in its own process, in
milliseconds.
"""

import errno
import logging
import os
import resource
import signal
import sys
import traceback

CHANGES = {
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.mkdir",
    "os.truncate",
    "os.link",
    "os.symlink",
    "fsync",
}
# What a full disk refuses; it renames and removes as ever.
GROWS = {"open", "os.mkdir"}
MOST = 2000


def on_change(root, act):
    """Calls ``act(event, path)`` before whatever changes something below
    ``root``, for the rest of this process."""
    root = os.fspath(root)

    def hook(event, args):
        if event == "open":
            path, _, flags = args
            if not flags & (os.O_WRONLY | os.O_RDWR):
                return
        elif event not in CHANGES:
            return
        else:
            path = args[0]
        # shutil.rmtree names what it removes within an open folder.
        within = len(args) > 1 and event in ("os.remove", "os.rmdir")
        inside = isinstance(path, (str, os.PathLike)) and (
            os.fspath(path).startswith(root)
            or (within and args[1] not in (None, -1))
        )
        if inside:
            act(event, os.fspath(path))

    real = os.fsync

    def fsync(handle):
        hook("fsync", (os.readlink(f"/proc/self/fd/{handle}"),))
        real(handle)

    os.fsync = fsync
    sys.addaudithook(hook)


def die_before(number, root):
    """SIGKILL before change ``number`` (from 0) below ``root``."""
    left = [number]

    def act(event, path):
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1

    on_change(root, act)


def full_from(number, root):
    """No room for what is new or grows, from change ``number`` on."""
    left = [number]

    def act(event, path):
        if left[0] > 0:
            left[0] -= 1
        elif event in GROWS:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    on_change(root, act)


def no_file_beyond(size, kill=False):
    """No file grows beyond ``size`` bytes: an error in the midst of a write,
    or, with ``kill``, the end."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL if kill else signal.SIG_IGN)
    logging.disable()  # pytest's files, where output goes, grow as well
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit_files(size)


def _limit_files(size=None):
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = most if size is None else size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))


def fork(work):
    """Runs ``work`` in a copy of this process; gives its id."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.alarm(300)  # rather than for ever
        work()
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        _limit_files()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def outcome(pid):
    """Exit status as subprocess gives it: negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def in_fork(work):
    """Runs ``work`` in a copy of this process, to its end."""
    return outcome(fork(work))


def at_each_change(folder, work, look, fault=die_before, step=1):
    """Meets a fault at each change in turn, until there are no more.

    Arguments
    ---------
    folder : Path
        Gets a folder for each try.
    work : callable
        Is given that folder.
    look : callable
        Is given the folder after each try.
    fault : callable
        `die_before` or `full_from`.
    step : int
        Only every so many changes, where trying all takes too long.

    Returns
    -------
    int
        How many changes were tried.
    """
    for number in range(0, MOST, step):
        place = folder / f"{number}"
        place.mkdir(parents=True)

        def run(number=number, place=place):
            fault(number, place)
            work(place)

        code = in_fork(run)
        if code == 0:
            return number
        dies = fault is die_before
        assert code == -signal.SIGKILL if dies else code > 0, (number, code)
        look(place)
    raise AssertionError(f"{MOST} changes, and no end")
