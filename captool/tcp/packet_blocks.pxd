cdef class PacketBlocks:
    cdef long long[::1] store
    cdef long long[::1] conversations
    cdef long long conversations_known
    cdef long long blocks
    cdef long long max_blocks
    cdef long long most
    cdef long long asked

    cdef long long open(self)
    cdef long long first_block(self, long long slot)
    cdef long long last_block(self, long long slot)
    cdef long long block_count(self, long long slot)
    cdef long long given_back(self, long long slot)
    cdef long long room(self, long long slot)
    cdef long long free_block(self)
    cdef long long oldest_block(self, long long slot)
