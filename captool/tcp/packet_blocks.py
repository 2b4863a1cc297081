"""Rows of five numbers in blocks of sixteen, chained for each conversation, in a store of bounded size.

Compiled by Cython (pure-Python mode) and runs unchanged without it. Of a long conversation the first block and the last ones are kept, and
when all room is taken the long ones give some back.
"""

# ruff: noqa: D102, D103
# (the compiler makes plain comparisons of chained ones, Python calls of min, max and `in`)

import array

import cython

NONE = cython.declare(cython.longlong, -1)
# A block is a link to the next one, the number of rows in use, and the rows of WORDS numbers: time; packet number and whether the
# second end sent it; seq and ack; mark; length, hop limit and flags.
ROWS = cython.declare(cython.longlong, 16)
WORDS = cython.declare(cython.longlong, 5)
BLOCK = cython.declare(cython.longlong, 82)
# A conversation: first and last block, number of blocks, rows given back.
CONVERSATION = cython.declare(cython.longlong, 4)
# How many conversations are asked for room at a time: a bound on the time that a packet takes.
ASKED = cython.declare(cython.longlong, 64)


@cython.final
@cython.cclass
class PacketBlocks:
    """The rows of `conversations_known` conversations; of all at most `max_rows`, of one at most `max_conversation_rows`."""

    def __init__(self, max_rows: int, max_conversation_rows: int) -> None:
        self.store = array.array("q", bytes(8 * BLOCK * 64))
        self.conversations = array.array("q", bytes(8 * CONVERSATION * 64))
        self.conversations_known = 0
        self.blocks = 0
        self.max_blocks = max(max_rows // ROWS, 2)
        self.most = max(max_conversation_rows // ROWS, 3)
        self.asked = 0

    @cython.cfunc
    def open(self) -> cython.longlong:
        """The number of a new conversation; -1 where there is no room."""
        slot: cython.longlong
        block: cython.longlong = self.free_block()
        if block < 0:
            return NONE
        slot = self.conversations_known
        self.conversations_known += 1
        if (slot + 1) * CONVERSATION > len(self.conversations):
            self.conversations = larger(self.conversations, 2 * len(self.conversations))
        self.conversations[slot * CONVERSATION] = block
        self.conversations[slot * CONVERSATION + 1] = block
        self.conversations[slot * CONVERSATION + 2] = 1
        return slot

    @cython.cfunc
    def first_block(self, slot: cython.longlong) -> cython.longlong:
        return self.conversations[slot * CONVERSATION]

    @cython.cfunc
    def last_block(self, slot: cython.longlong) -> cython.longlong:
        return self.conversations[slot * CONVERSATION + 1]

    @cython.cfunc
    def block_count(self, slot: cython.longlong) -> cython.longlong:
        return self.conversations[slot * CONVERSATION + 2]

    @cython.cfunc
    def given_back(self, slot: cython.longlong) -> cython.longlong:
        """How many rows between the first block of a conversation and those kept last are not kept."""
        return self.conversations[slot * CONVERSATION + 3]

    @cython.cfunc
    def room(self, slot: cython.longlong) -> cython.longlong:
        """The place of a new row of a conversation; -1 where there is none."""
        at: cython.longlong = slot * CONVERSATION
        block: cython.longlong = self.conversations[at + 1]
        used: cython.longlong = self.store[block * BLOCK + 1]
        more: cython.longlong
        if used == ROWS:
            more = self.oldest_block(slot) if self.conversations[at + 2] >= self.most else self.free_block()
            if more < 0:
                return NONE
            block = self.conversations[at + 1]
            self.store[block * BLOCK] = more
            self.conversations[at + 1] = more
            self.conversations[at + 2] += 1
            block = more
            used = 0
        self.store[block * BLOCK + 1] = used + 1
        return block * BLOCK + 2 + used * WORDS

    @cython.cfunc
    def free_block(self) -> cython.longlong:
        """An empty block: a new one, or else one of a long conversation; -1 where there is none."""
        block: cython.longlong
        _step: cython.longlong
        if self.blocks < self.max_blocks:
            block = self.blocks
            self.blocks += 1
            if self.blocks * BLOCK > len(self.store):
                self.store = larger(self.store, min(2 * len(self.store), self.max_blocks * BLOCK))
            return block
        for _step in range(ASKED):
            self.asked += 1
            if self.asked >= self.conversations_known:
                self.asked = 0
            if self.conversations[self.asked * CONVERSATION + 2] > 2:
                return self.oldest_block(self.asked)
        return NONE

    @cython.cfunc
    def oldest_block(self, slot: cython.longlong) -> cython.longlong:
        """Take away the second of a conversation's blocks, which are three at least: the first holds the handshake."""
        at: cython.longlong = slot * CONVERSATION
        first: cython.longlong = self.conversations[at]
        block: cython.longlong = self.store[first * BLOCK]
        self.store[first * BLOCK] = self.store[block * BLOCK]
        self.conversations[at + 2] -= 1
        self.conversations[at + 3] += self.store[block * BLOCK + 1]
        self.store[block * BLOCK] = 0
        self.store[block * BLOCK + 1] = 0
        return block


@cython.cfunc
def larger(old: cython.longlong[::1], size: cython.longlong) -> object:
    grown = array.array("q", bytes(8 * size))
    view: cython.longlong[::1] = grown
    at: cython.Py_ssize_t
    for at in range(len(old)):
        view[at] = old[at]
    return grown
