/* The supervisor of handoff.pml. */

mtype = { vacant, starting, serving, dying };

typedef Slot {
    mtype state;
    byte credit;            /* as last read */
    byte first;             /* the lowest number not adopted */
    byte count;             /* in flight: numbers first ..< first + count */
    byte item[CONNECTIONS];
    byte refusedFrom;       /* a packet with this number did not go out (255: none) */
    bool busy;              /* rests after a refusal until the timer */
};
Slot slot[SLOTS];

chan pending = [CONNECTIONS] of { byte }; /* sorted by age: a connection's number is its place in the order of acceptance */
bool mine[CONNECTIONS];                   /* our copies */
byte failures[CONNECTIONS];
bool begun; /* the slots are alike, so the very first choice may as well be slot 0: half the states */

#define ROOM(w) (slot[w].state == serving && !slot[w].busy && HAS_CREDIT(w))
#ifdef MUTATION_SEND_AFTER_REFUSAL
#define OPEN_FOR_SENDING(w) true
#else
#define OPEN_FOR_SENDING(w) (slot[w].refusedFrom == 255)
#endif
#ifdef MUTATION_CREDIT_IGNORED
#define HAS_CREDIT(w) (slot[w].count < CONNECTIONS)
#else
#define HAS_CREDIT(w) (slot[w].credit > slot[w].count)
#endif

inline let_go(x) { mine[x] = false; dropped(x) }

inline put_back(x) {
#ifdef MUTATION_REDELIVER_AT_THE_TAIL
    pending!x
#else
    pending!!x
#endif
}

/* Sent, but never taken by that worker. */
inline redeliver(x) {
    failures[x]++;
    if
    :: failures[x] >= DELIVERIES_MAX -> closed_counted(x); let_go(x)
    :: else -> put_back(x)
    fi
}

/* Takes the oldest in flight out of the queue. */
inline take_first(w, x) {
    x = slot[w].item[0];
    for (i : 1 .. CONNECTIONS - 1) { slot[w].item[i - 1] = slot[w].item[i] }
    slot[w].item[CONNECTIONS - 1] = 0;
    slot[w].first++;
    slot[w].count--
}

/* Reads a page while its worker may be writing: `adopted` first of all. */
inline read_page(w) {
#ifdef MUTATION_CREDIT_READ_FIRST
    slot[w].credit = page[w].credit;
    adopted = page[w].adopted;
    d_step {
#else
    adopted = page[w].adopted;
    d_step {
        slot[w].credit = page[w].credit;
#endif
        assert(adopted >= slot[w].first && adopted <= slot[w].first + slot[w].count);
        do
        :: slot[w].first < adopted ->
            take_first(w, x);
            if
            :: page[w].rejectionsSeen != page[w].rejectionsWritten && page[w].rejection[page[w].rejectionsSeen % RING] == slot[w].first - 1 ->
                page[w].rejection[page[w].rejectionsSeen % RING] = 0;
                page[w].rejectionsSeen++;
                redeliver(x)
#ifdef MUTATION_RELEASE_AT_SEND
            :: else
#else
            :: else -> let_go(x)
#endif
            fi
        :: else -> break
        od;
        adopted = 0; x = 0; i = 0
    }
}

inline refuse(w) {
    if
    :: slot[w].refusedFrom == 255 -> slot[w].refusedFrom = slot[w].first + slot[w].count - 1
    :: else
    fi
}

/* EAGAIN from a full socket, EPIPE from a dead worker's, ETOOMANYREFS now and then. */
inline send(w, x) {
    if
#ifndef MUTATION_SEND_AFTER_REFUSAL
    :: slot[w].refusedFrom != 255 /* nor does this one go out: no number may be skipped */
#endif
    :: OPEN_FOR_SENDING(w) && nfull(handoff[w]) && spawned[w] ->
        copied(x);
        handoff[w]!slot[w].first + slot[w].count - 1,x;
#ifdef MUTATION_RELEASE_AT_SEND
        let_go(x)
#endif
    :: OPEN_FOR_SENDING(w) && spawned[w] && full(handoff[w]) -> refuse(w)
    :: OPEN_FOR_SENDING(w) && !spawned[w] -> refuse(w); slot[w].state = dying
    :: OPEN_FOR_SENDING(w) && faults > 0 -> faults--; refuse(w)
    fi
}

/* Gives out what is pending as far as there is room; whom the balance prefers does not matter. */
inline dispatch() {
    atomic {
        do
        :: nempty(pending) && (ROOM(0) || (ROOM(1) && begun)) ->
            if
            :: ROOM(0) -> w = 0; begun = true
            :: ROOM(1) && begun -> w = 1
            fi;
            pending?x;
            /* Oldest first, redelivered ones too. */
            assert(!(x > 0 && pending??[0]) && !(x > 1 && pending??[1]));
            slot[w].item[slot[w].count] = x;
            slot[w].count++;
            send(w, x)
        :: else -> break
        od;
        /* After the list, before anything is chosen anew: what did not go out, its numbers free again. */
        for (w : 0 .. SLOTS - 1) {
            do
#ifdef MUTATION_TAKE_BACK_WHAT_WAS_SENT
            /* Earlier packets as well: their numbers are used again. */
            :: slot[w].refusedFrom != 255 && slot[w].count > 0 ->
#else
            :: slot[w].refusedFrom != 255 && slot[w].first + slot[w].count > slot[w].refusedFrom ->
#endif
                slot[w].count--;
                x = slot[w].item[slot[w].count];
                slot[w].item[slot[w].count] = 0;
                put_back(x);
                slot[w].busy = true
            :: else -> break
            od;
            slot[w].refusedFrom = 255
        }
        w = 0; x = 0
    }
}

/* A new process in the slot: numbers begin at 0, on both sides. */
inline spawn(w) {
    d_step {
        assert(slot[w].count == 0 && empty(handoff[w]));
#ifndef MUTATION_PAGE_NOT_RESET
        page[w].adopted = 0;
        page[w].rejectionsWritten = 0;
        page[w].rejectionsSeen = 0;
#endif
        page[w].credit = 0;
        page[w].rejection[0] = 0;
        slot[w].credit = 0;
        slot[w].first = 0;
        slot[w].busy = false;
        slot[w].state = starting;
        spawned[w] = true
    }
}

inline redeliver_the_rest(w) {
    d_step {
        do
        :: slot[w].count > 0 -> take_first(w, x); redeliver(x)
        :: else -> break
        od;
        x = 0; i = 0
    }
}

#ifdef MUTATION_READ_BEFORE_REAP
bool wasRead[SLOTS];
#endif

/* waitpid(2) has returned it: nobody writes the page any more, so this reading says for certain what it had adopted. */
inline reap(w) {
    zombie[w] = false;
#ifdef MUTATION_READ_BEFORE_REAP
    if
    :: wasRead[w] -> wasRead[w] = false
    :: else -> read_page(w)
    fi;
#else
#ifndef MUTATION_REDELIVER_WHAT_IS_ADOPTED
    read_page(w);
#endif
#endif
    redeliver_the_rest(w);
    slot[w].state = vacant
}

/* SIGKILL. It may go on for a moment: what it has not adopted by now is not safe before it is reaped. */
inline kill(w) {
    slot[w].state = dying;
    killSent[w] = true;
#ifdef MUTATION_READ_BEFORE_REAP
    wasRead[w] = true;
    read_page(w);
    redeliver_the_rest(w)
#endif
}

#define PAGE_CHANGED(w) (slot[w].state == serving && (page[w].adopted != slot[w].first || page[w].credit != slot[w].credit))
#ifdef MUTATION_HANG_IGNORED
#define IS_HUNG(w) false
#else
/* No heartbeat for as long as --hang-timeout. */
#define IS_HUNG(w) (stopped[w] && slot[w].state == serving)
#endif

active proctype Supervisor() {
    byte w, x, i, adopted;
    {
        for (w : 0 .. SLOTS - 1) { slot[w].state = vacant; slot[w].refusedFrom = 255; spawn(w) }
        w = 0;
endIdle:
        do
        :: atomic { arrived < CONNECTIONS -> x = arrived; accepted(x); mine[x] = true; pending!!x; x = 0; dispatch() }
        :: atomic { ready[0] && slot[0].state == starting -> slot[0].state = serving }
        :: atomic { ready[1] && slot[1].state == starting -> slot[1].state = serving }
        :: atomic { zombie[0] -> reap(0); spawn(0); dispatch() }
        :: atomic { zombie[1] -> reap(1); spawn(1); dispatch() }
        /* Pages are looked at while something is awaited from them. */
        :: PAGE_CHANGED(0) -> read_page(0); dispatch()
        :: PAGE_CHANGED(1) -> read_page(1); dispatch()
        /* The timer: rests end, and who has not answered for too long is killed. */
        :: atomic {
               slot[0].busy || slot[1].busy || IS_HUNG(0) || IS_HUNG(1) ->
               slot[0].busy = false;
               slot[1].busy = false;
#ifndef MUTATION_HANG_IGNORED
               if
               :: IS_HUNG(0) -> kill(0)
               :: else
               fi;
               if
               :: IS_HUNG(1) -> kill(1)
               :: else
               fi;
#endif
               dispatch()
           }
        od
    } unless { supervisorKilled };
    /* The kernel closes its descriptors. What it had sent stays in the workers' sockets. */
    d_step {
        supervisorKilled = false;
        supervisorDead = true;
        supervisor_died();
        for (i : 0 .. CONNECTIONS - 1) {
            if
            :: mine[i] -> mine[i] = false; dropped(i)
            :: else
            fi
        }
        do
        :: nempty(pending) -> pending?_
        :: empty(pending) -> break
        od;
        i = 0; x = 0; w = 0; adopted = 0
    }
}
