"""Records that another thread opens while Python works on what comes next.

Runs of records are added in portions. The thread that reads ahead opens one after the other, and so does the caller as soon as it wants the
plaintext: whoever comes first takes a portion, so that nobody waits for a thread that sleeps or has no processor. Neither needs Python's
lock for that. What was opened is looked at by the caller alone, when all portions are done.

Compiled by Cython (pure-Python mode), and of use only where libcrypto.py has the cipher; without it no run is taken.
"""

# ruff: noqa: F821, FBT003
# (locks, and what makes a bytearray, are known to the compiler, from sealed_runs.pxd)

import cython

if not cython.compiled:  # compiled, they come from sealed_runs.pxd
    from captool.capture.read_ahead import Aside
    from captool.tls.aead_protection import AeadOpener

    Portion = None

ENOUGH = 1 << 16  # bytes for which it is worth while to wake another thread
PORTION = 1 << 16  # bytes that one thread opens, some twenty microseconds' worth, while the other does not look
PATIENCE = cython.declare(cython.int, 2000)  # looks at what the thread is at, before the caller sleeps until it is done
MOST = cython.declare(cython.int, 256)  # portions, as many as the array has
BUFFERS = cython.declare(cython.Py_ssize_t, 4)  # that are kept to be lent again


@cython.final
@cython.cclass
class SealedRuns(Aside):
    """Portions of which `added` are there, and `taken` done or in work; `owners` keep what they point to.

    These counters are looked at and changed under the lock `counters`, and so is whether the thread is `working` at a portion; where the
    caller has `awaited` its end, that opens the lock `rest`. `waiting` is for callers, to note who will want to know of what is opened.
    """

    if cython.compiled:

        def __cinit__(self) -> None:
            """Make the locks."""
            self.counters = PyThread_allocate_lock()
            self.rest = PyThread_allocate_lock()
            PyThread_acquire_lock(self.rest, WAIT_LOCK)

        def __dealloc__(self) -> None:
            """Give the locks back; no thread has a reference any more."""
            PyThread_free_lock(self.counters)
            PyThread_free_lock(self.rest)

    def __init__(self, enough: cython.Py_ssize_t = ENOUGH, portion: cython.Py_ssize_t = PORTION) -> None:
        """`enough`: how many bytes a run has at least; `portion`: and a portion, but for the last of a run."""
        self.enough = enough
        self.portion = portion
        self.waiting = []
        self.owners = []
        self.buffers = []
        self.added = self.taken = 0
        self.working = self.awaited = False

    @cython.cfunc
    def lend(self, size: cython.Py_ssize_t) -> bytearray:
        """A buffer of at least this size that nobody has a view of; the borrower is to hold one as long as it needs the buffer.

        The system would take the memory of large ones back each time, and give it anew page by page, which takes longer than to fill it.
        """
        buffer: bytearray
        free: cython.Py_ssize_t = -1
        place: cython.Py_ssize_t
        for place in range(len(self.buffers)):
            buffer = self.buffers[place]
            if cython.cast(cython.pointer(PyByteArrayObject), buffer).ob_exports == 0:
                if len(buffer) >= size:
                    return buffer
                free = place
        buffer = PyByteArray_FromStringAndSize(cython.NULL, size + size // 8)
        if free >= 0:
            self.buffers[free] = buffer
        elif len(self.buffers) < BUFFERS:
            self.buffers.append(buffer)
        return buffer

    @cython.cfunc
    @cython.exceptval(-1)
    def takes(self, portions: cython.Py_ssize_t, owner: object) -> cython.bint:
        """Whether so many portions can be added, and somebody else is there to open them; `owner` is kept until they are done."""
        if self.reader is None or not self.reader.listening or portions > MOST - self.added:
            return False
        self.owners.append(owner)
        return True

    @cython.cfunc
    @cython.exceptval(-1)
    def add(self, portion: Portion) -> cython.int:
        """Add a portion."""
        if self.added >= MOST:
            raise IndexError("more portions than there is room for")
        self.portions[self.added] = portion
        PyThread_acquire_lock(self.counters, WAIT_LOCK)
        self.added += 1
        PyThread_release_lock(self.counters)
        return 0

    @cython.cfunc
    def begin(self) -> cython.int:
        """Let the thread begin with what was added."""
        self.reader.ring_the_bell()
        return 0

    def finish(self) -> None:
        """See to it that all portions are done."""
        awaited: cython.bint
        patience: cython.int = PATIENCE
        if not self.owners:
            return
        with cython.nogil:
            while self.work(False):
                pass
            while self.working and patience > 0:
                patience -= 1
                PyThread_acquire_lock(self.counters, WAIT_LOCK)
                PyThread_release_lock(self.counters)
            PyThread_acquire_lock(self.counters, WAIT_LOCK)
            awaited = self.working
            self.awaited = awaited
            PyThread_release_lock(self.counters)
            if awaited:
                PyThread_acquire_lock(self.rest, WAIT_LOCK)
            PyThread_acquire_lock(self.counters, WAIT_LOCK)
            self.added = self.taken = 0
            PyThread_release_lock(self.counters)
        self.owners.clear()

    def close(self) -> None:
        """Finish; nothing is taken any more."""
        self.finish()
        self.reader = None

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    @cython.boundscheck(False)
    def work(self, by_thread: cython.bint) -> cython.bint:
        """Open the next portion, the thread with the contexts that it has for itself; false where all are taken."""
        place: cython.int = -1
        opened: cython.bint
        PyThread_acquire_lock(self.counters, WAIT_LOCK)
        if self.taken < self.added:
            place = self.taken
            self.taken += 1
            if by_thread:
                self.working = True
        PyThread_release_lock(self.counters)
        if place < 0:
            return False
        if by_thread:
            opened = cython.cast(AeadOpener, self.portions[place].opener).open_run(
                cython.cast(AeadOpener, self.portions[place].opener).beside,
                self.portions[place].sequence,
                self.portions[place].records,
                self.portions[place].size,
                self.portions[place].out,
                self.portions[place].tls13,
            )
        else:
            opened = cython.cast(AeadOpener, self.portions[place].opener).open_run(
                cython.cast(AeadOpener, self.portions[place].opener).direct,
                self.portions[place].sequence,
                self.portions[place].records,
                self.portions[place].size,
                self.portions[place].out,
                self.portions[place].tls13,
            )
        if not opened:
            self.portions[place].failed[0] = True
        if by_thread:
            PyThread_acquire_lock(self.counters, WAIT_LOCK)
            self.working = False
            if self.awaited:
                self.awaited = False
                PyThread_release_lock(self.rest)
            PyThread_release_lock(self.counters)
        return True
