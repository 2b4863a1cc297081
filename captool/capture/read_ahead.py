"""The next chunks of a file, made ready while Python works on the present one, on another core.

A thread reads the file, walks its records and lets the decoder's stage go over them. None of it needs Python's lock: two threads that
hand it to each other take longer than one. The thread stops before whatever is not plain (the end of the file, an error, a record that is
larger than the buffer, a block that is no packet), and the caller goes on by itself from the last chunk. What else can be done without
Python is left to the same thread (`Aside`): a third one would only be in the way of the two where there are two cores.

Compiled by Cython (pure-Python mode); without it nothing is read ahead.
"""

# ruff: noqa: ARG002, F821, FBT003
# (locks, read and memcpy are known to the compiler, from read_ahead.pxd)

from collections.abc import Callable

import cython

if not cython.compiled:  # compiled, they come from read_ahead.pxd
    from captool.capture.frames import Frames, Stage
    from captool.capture.walk import Walk

AVAILABLE = cython.compiled
RING = cython.declare(cython.int, 6)  # chunks: one in work, the others so that neither thread has to wait for the other at each
GOING_ON = cython.declare(cython.longlong, 1 << 62)
ENOUGH = cython.declare(cython.longlong, 2)  # chunks that are ready: the thread need not be woken to make others yet
PIECE = cython.declare(cython.Py_ssize_t, 1 << 17)  # read, and gone over before the next is read, while a second-level cache has it
PATIENCE_US = cython.declare(cython.longlong, 100_000)  # between two looks for a Ctrl-C, where a disk is slow


@cython.cclass
class Aside:
    """What the thread does between two chunks: of a layer that has something to do without Python's objects."""

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def work(self, by_thread: cython.bint) -> cython.bint:
        """Do a little of it, some ten microseconds' worth; false where there is nothing to do, as here.

        The caller does some as well where it has to wait, so that this is not always done `by_thread`.
        """
        return False


@cython.final
@cython.cclass
class ReadAhead:
    """Makes chunks of one file after another, in six `Frames` of its own that `new_frames` gives.

    Chunk n is in place n % 6; `number` is the next that the caller takes, `returned` the first that it did not give back, `made` the last
    that the thread made. `ready` of a place opens when the chunk can be taken, or does not come: then `last` is the number of the one
    before it. Of `number`, `returned` and `made` the other thread may see an older value, which costs nothing but time: the thread sleeps,
    until `bell` opens, only after it said under the lock `door` that it is `asleep`, and looked once more for something to do.

    What is set `aside` comes before the next chunk, unless the caller has none left or waits for it (`wanted`).
    """

    if cython.compiled:

        def __cinit__(self) -> None:
            """Make the locks."""
            place: cython.int
            self.door = PyThread_allocate_lock()
            self.bell = PyThread_allocate_lock()
            PyThread_acquire_lock(self.bell, WAIT_LOCK)
            for place in range(RING):
                self.ready[place] = PyThread_allocate_lock()
                PyThread_acquire_lock(self.ready[place], WAIT_LOCK)

        def __dealloc__(self) -> None:
            """Give the locks back; there is no thread, which would hold a reference."""
            place: cython.int
            PyThread_free_lock(self.door)
            PyThread_free_lock(self.bell)
            for place in range(RING):
                PyThread_free_lock(self.ready[place])

    def __init__(self, new_frames: Callable[[], Frames], stage: Stage) -> None:
        place: cython.int
        chunk: Frames
        self.stage = stage
        self.aside = self.nothing = Aside()
        self.listening = False
        self.chunks = [new_frames() for _ in range(RING)]
        for place in range(RING):
            chunk = self.chunks[place]
            self.spare = chunk.spare
            stage.prepare(chunk)
            self.ring[place] = cython.cast(cython.p_void, chunk)

    def set_aside(self, aside: Aside) -> None:
        """What there is to do beside; once, at any time. Whoever adds to it is to ask whether this is `listening`, and to ring the bell."""
        aside.reader = self
        self.aside = aside  # the one before stays: the thread may be looking at it

    def start(self, descriptor: int, walk: Walk, before: Frames) -> bool:
        """Begin to make the chunks behind `before`; whether that is possible. Nobody else may read the file or use `walk` until the end."""
        import threading

        place: cython.int
        held: cython.int = -1
        if before.needed < 0:
            return False
        self.descriptor = descriptor
        self.walk = walk
        self.first = before
        for place in range(RING):
            if self.chunks[place] is before:
                held = place
        self.number = held + 1
        self.returned = max(held, 0)
        self.made = held
        self.last = GOING_ON
        self.asleep = self.wanted = self.stopping = self.over = False
        self.thread = threading.Thread(target=self.work, name="captool-read-ahead", daemon=True)
        try:
            self.thread.start()
        except RuntimeError:  # no more threads for this user
            self.thread = self.walk = self.first = None
            return False
        self.listening = True
        return True

    def work(self) -> None:
        """What the thread does."""
        with cython.nogil:
            self.run()
            while not self.over:
                if not self.aside.work(True):
                    self.sleep()

    def next(self) -> Frames | None:
        """The next chunk, which is the caller's until the next call; None where the caller has to go on by itself behind the last one."""
        place: cython.int = self.number % RING
        got: cython.int
        if self.thread is None:
            return None
        self.returned = self.number
        if self.made - self.number < ENOUGH or self.stopping:  # to wake the thread for each place takes longer than its work
            self.ring_the_bell()
        with cython.nogil:
            got = PyThread_acquire_lock_timed(self.ready[place], 0, 0)
            while got != PY_LOCK_ACQUIRED and self.aside.work(False):
                got = PyThread_acquire_lock_timed(self.ready[place], 0, 0)
        while got != PY_LOCK_ACQUIRED:
            PyErr_CheckSignals()
            self.wanted = True
            with cython.nogil:
                got = PyThread_acquire_lock_timed(self.ready[place], PATIENCE_US, 0)
        if self.number > self.last:
            self.end()
            return None
        self.number += 1
        return self.chunks[place]

    def stop(self) -> None:
        """Make no more chunks; the file may be closed then."""
        self.stopping = True
        while self.next() is not None:
            pass

    @cython.cfunc
    def end(self) -> cython.int:
        """End the thread, which makes no more chunks."""
        self.listening = False
        self.over = True
        self.ring_the_bell()
        self.thread.join()
        self.thread = self.walk = self.first = None
        return 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def ring_the_bell(self) -> cython.int:
        """There is something to do for the thread."""
        asleep: cython.bint
        PyThread_acquire_lock(self.door, WAIT_LOCK)
        asleep = self.asleep
        self.asleep = False
        PyThread_release_lock(self.door)
        if asleep:
            PyThread_release_lock(self.bell)
        return 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def sleep(self) -> cython.int:
        """Wait for the bell, unless there is something to do all the same."""
        asleep: cython.bint
        PyThread_acquire_lock(self.door, WAIT_LOCK)
        self.asleep = True
        PyThread_release_lock(self.door)
        if self.over or self.stopping or self.has_place() or self.aside.work(True):
            PyThread_acquire_lock(self.door, WAIT_LOCK)
            asleep = self.asleep
            self.asleep = False
            PyThread_release_lock(self.door)
            if asleep:
                return 0
        PyThread_acquire_lock(self.bell, WAIT_LOCK)
        return 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def has_place(self) -> cython.bint:
        """Whether the caller has given the place of the next chunk back."""
        return self.made + 1 - RING < self.returned and self.last == GOING_ON

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def run(self) -> cython.int:
        """Make one chunk after the other until one is not plain."""
        number: cython.longlong = self.number
        more: cython.bint = self.fill(number, self.first, cython.cast(Frames, self.ring[number % RING]))
        while more:
            self.made = number
            PyThread_release_lock(self.ready[number % RING])
            number += 1
            while not self.stopping and not (self.has_place() and (self.wanted or self.made < self.number or not self.aside.work(True))):
                if not self.has_place() and not self.aside.work(True):
                    self.sleep()
            self.wanted = False
            more = not self.stopping and self.fill(
                number, cython.cast(Frames, self.ring[(number - 1) % RING]), cython.cast(Frames, self.ring[number % RING])
            )
        self.last = number - 1
        PyThread_release_lock(self.ready[number % RING])
        return 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    @cython.boundscheck(False)
    def fill(self, number: cython.longlong, before: Frames, frames: Frames) -> cython.bint:
        """Make the chunk of this number, behind `before`; false where that is not plain.

        The stage is left to the caller where that needs the chunk at once: so both threads have as much to do.
        """
        rest: cython.Py_ssize_t = before.fill - before.reached
        end: cython.Py_ssize_t = rest
        room: cython.Py_ssize_t
        got: cython.Py_ssize_t
        if before.needed < 0 or before.needed > self.spare or rest > self.spare:
            return False
        frames.spare = self.spare
        if rest:
            memcpy(cython.address(frames.data[0]), cython.address(before.data[before.reached]), rest)
        frames.fill = rest
        frames.reached = 0
        frames.count = 0
        frames.staged = False
        frames.ordered = True
        frames.needed = before.needed
        frames.last_ts_ns = before.last_ts_ns
        if before.needed == 0:
            self.go_over(number, frames)
            return True
        while end < frames.spare:
            room = frames.spare - end
            if room > PIECE:  # noqa: PLR1730 - the compiler would call Python's min
                room = PIECE
            got = read(self.descriptor, cython.address(frames.data[end]), room)
            if got > 0:
                end += got
                frames.fill = end
                if frames.needed > 0:
                    self.go_over(number, frames)
            elif got == 0 or errno != EINTR:
                break
        return end > rest

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def go_over(self, number: cython.longlong, frames: Frames) -> cython.int:
        """Walk the records that came, and let the stage go over them unless the caller waits for the chunk."""
        self.walk.step(frames)
        if number > self.number:
            self.stage.work(frames)
        return 0
