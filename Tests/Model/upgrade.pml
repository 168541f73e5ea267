/*
 * Upgrade: the supervisor becomes another program by execve(2), and perhaps the old one again, while workers work on.
 *
 * What the kernel keeps over an exec: the PID and its children, and the descriptors that are meant to stay open, with
 * what waits in the sockets. What it does not keep: memory, the ring with its accepts, and completions nobody has taken.
 * So accepting is given up and every completion taken before the state is frozen, and the state says everything else: the
 * sockets pending and in flight with their numbers, the pages, the versions agreed on. The new program starts a
 * generation of its own; it commits when that is ready, or freezes again and becomes the old program. The code:
 * SupervisorProcess+Upgrade, Freezing, UpgradeImage. The generations themselves are in replacement.pml.
 *
 * Three workers: one that serves, one that still drains since an earlier replacement, and the new program's.
 */
#define CONNECTIONS 2 /* the first is served by the worker that drains, the other comes */
#define WORKERS     3
#define CURRENT     0
#define DRAINING    1
#define NEXT        2

#include "connection.pml"

#ifndef FAULTS
#define FAULTS 2 /* a worker dies, exec or thaw fails, the new generation is given up */
#endif
#ifndef UPGRADES
#define UPGRADES 1 /* attempts */
#endif
byte faults = FAULTS, upgrades = UPGRADES;

/* Programs, and with them the newest hand-off version that they and their workers speak. */
#define OLD 1
#define NEW 2

mtype = { taken };

/* Kernel objects: they outlive the program. */
chan completions = [CONNECTIONS] of { byte };                  /* accepts, in the ring */
chan handoff[WORKERS] = [1] of { byte, byte, byte, byte };     /* version, sequence number, connection, state */
chan offers[WORKERS] = [CONNECTIONS] of { byte, byte };        /* connection, state */
chan answers[WORKERS] = [CONNECTIONS] of { mtype, byte };      /* connection */
byte adopted[WORKERS];                                         /* in the pages */
bool alive[WORKERS], draining[WORKERS], killed[WORKERS], zombie[WORKERS];
byte speaks[WORKERS];
bool armed;                                                    /* the multishot accept */

#include "upgrade_worker.pml"

/* ---------------------------------------------------------------- the supervisor's memory */

mtype = { idle, givingUp, arrivedNew, booting, givingBack };
mtype stage = idle;
byte program = OLD;
bool isArrived;                            /* the loop has just begun in a program that was exec'd */
byte member = CURRENT;                     /* who takes traffic */
chan pending = [CONNECTIONS] of { byte };
chan inflight[WORKERS] = [CONNECTIONS] of { byte };
byte first[WORKERS], agreed[WORKERS];
byte blob[CONNECTIONS];                    /* frozen states */

#ifdef MUTATION_NO_REAPING_AFTER_EXEC
bool isUnheard[WORKERS];
#define IS_TOLD_OF(w) (zombie[w] && !isUnheard[w])
#else
#define IS_TOLD_OF(w) zombie[w]
#endif
#define CAN_SEND(w) (alive[w] && nfull(handoff[w]))

/*
 * Until the commit the new program may have to become the old one again, which must be able to talk to every worker: so
 * it agrees on nothing that the old one does not speak.
 */
inline agree(w) {
#ifdef MUTATION_AGREES_BEYOND_THE_FORMER
    agreed[w] = (speaks[w] < program -> speaks[w] : program)
#else
    agreed[w] = (member != NEXT -> OLD : (speaks[w] < program -> speaks[w] : program))
#endif
}

inline spawn(w) {
    adopted[w] = 0;
    first[w] = 0;
    speaks[w] = program;
    agree(w);
    draining[w] = false;
    alive[w] = true
}

inline read_page(w) {
    assert(adopted[w] >= first[w] && adopted[w] <= first[w] + len(inflight[w]));
    do
    :: first[w] < adopted[w] -> inflight[w]?x; first[w]++; dropped(x)
    :: else -> break
    od;
    x = 0
}

/* The last words are read before the page is: an offer may be all that is left of a connection. */
inline take_offers(w) {
    do
    :: nempty(offers[w]) ->
        offers[w]?x,state;
        blob[x] = state;
        if
        :: alive[w] -> answers[w]!taken,x
        :: else -> assert(c[x].over); c[x].over = false
        fi;
        c[x].answers = SUPERVISOR;
        pending!x
    :: empty(offers[w]) -> break
    od;
    x = 0; state = 0
}

inline reap(w) {
    if
    :: zombie[w] ->
        zombie[w] = false;
        take_offers(w);
        read_page(w);
        do
        :: nempty(inflight[w]) -> inflight[w]?x; pending!!x
        :: empty(inflight[w]) -> break
        od;
        first[w] = 0;
        adopted[w] = 0;
        x = 0;
        if
        :: w == member -> spawn(w)
        :: w == NEXT && stage == booting -> stage = givingBack; armed = false
        :: else
        fi
    :: else
    fi
}

/* ---------------------------------------------------------------- exec */

/* Descriptors that the image does not name are closed by the exec. */
inline become(next) {
    /* The ring is gone, and with it what it had accepted and nobody had heard of. */
    do
    :: nempty(completions) -> completions?x; dropped(x)
    :: empty(completions) -> break
    od;
#ifdef MUTATION_FORGET_PENDING
    do
    :: nempty(pending) -> pending?x; dropped(x)
    :: empty(pending) -> break
    od;
#endif
#ifdef MUTATION_FORGET_IN_FLIGHT
    do
    :: nempty(inflight[CURRENT]) -> inflight[CURRENT]?x; first[CURRENT]++; dropped(x)
    :: empty(inflight[CURRENT]) -> break
    od;
#endif
#ifdef MUTATION_FORGET_NUMBERS
    first[CURRENT] = 0;
#endif
#ifdef MUTATION_PAGES_SET_BACK
    adopted[CURRENT] = 0;
#endif
#ifdef MUTATION_FORGET_UNANSWERED_OFFERS
    do
    :: nempty(offers[DRAINING]) -> offers[DRAINING]?x,state; dropped(x)
    :: empty(offers[DRAINING]) -> break
    od;
    state = 0;
#endif
    program = next;
#ifdef MUTATION_FORGET_VERSIONS
    agreed[CURRENT] = program;
    agreed[NEXT] = program;
#endif
    /* A program cannot even take over a socket whose version it does not speak. */
    assert(agreed[CURRENT] <= program || !alive[CURRENT]);
    assert(agreed[NEXT] <= program || !alive[NEXT]);
    armed = false;
#ifdef MUTATION_NO_REAPING_AFTER_EXEC
    /* Signals that had come are not told of again. */
    for (x : 0 .. WORKERS - 1) { isUnheard[x] = zombie[x] }
#endif
    isArrived = true;
    x = 0
}

#ifdef MUTATION_FREEZE_WITHOUT_TAKING_ACCEPTS
#define MAY_FREEZE true
#else
#define MAY_FREEZE empty(completions)
#endif

active proctype Supervisor() {
    byte x, state;

    d_step {
        speaks[CURRENT] = OLD; agreed[CURRENT] = OLD; alive[CURRENT] = true;
        speaks[DRAINING] = OLD; agreed[DRAINING] = OLD; alive[DRAINING] = true; draining[DRAINING] = true;
        armed = true
    };
    arrived > 0 || zombie[DRAINING];
endIdle:
    do
    /* The loop begins: nothing that happened meanwhile announces itself. */
    :: d_step { isArrived ->
           isArrived = false;
#ifndef MUTATION_ACCEPTS_BELIEVED_ALIVE
           armed = true;
#endif
#ifndef MUTATION_NO_REAPING_AFTER_EXEC
           reap(0); reap(1); reap(2)
#endif
       }
    :: atomic { completions?x -> pending!x; x = 0 }
    :: atomic { nempty(pending) && CAN_SEND(member) ->
           pending?x;
           copied(x);
           assert(agreed[member] <= program);
           handoff[member]!agreed[member],first[member] + len(inflight[member]),x,blob[x];
           inflight[member]!x;
           x = 0
       }
    :: atomic { first[0] != adopted[0] && alive[0] -> read_page(0) }
    :: atomic { first[2] != adopted[2] && alive[2] -> read_page(2) }
    :: atomic { nempty(offers[0]) && alive[0] -> take_offers(0) }
    :: atomic { nempty(offers[1]) && alive[1] -> take_offers(1) }
    :: d_step { IS_TOLD_OF(0) || IS_TOLD_OF(1) || IS_TOLD_OF(2) -> reap(0); reap(1); reap(2) }

    /* The upgrade: stop accepting; when every completion is taken, freeze and exec. */
    :: atomic { upgrades > 0 && stage == idle && program == OLD -> upgrades--; stage = givingUp; armed = false }
    :: atomic { stage == givingUp && MAY_FREEZE ->
           if
           :: become(NEW); stage = arrivedNew
           :: faults > 0 -> faults--; stage = idle; armed = true /* execve failed */
           fi
       }
    /* One new generation at a time. */
    :: atomic { stage == arrivedNew && !isArrived && !alive[NEXT] && !zombie[NEXT] ->
           if
           :: spawn(NEXT); stage = booting
           :: faults > 0 -> faults--; stage = givingBack; armed = false /* it cannot go on here */
           fi
       }
    /* Ready: from here on there is no way back. */
    :: atomic { stage == booting && alive[NEXT] -> member = NEXT; draining[CURRENT] = true; stage = idle }
    /* Too many of the new workers died; those that live are told to leave. */
    :: atomic { stage == booting && faults > 0 -> faults--; draining[NEXT] = true; stage = givingBack; armed = false }
    :: atomic { stage == givingBack && MAY_FREEZE -> become(OLD); stage = idle }
    od
}

/* ---------------------------------------------------------------- the world, and what must hold */

active proctype Kernel() {
endKernel:
    do
    :: d_step { armed && arrived == 1 -> accepted(1); completions!1 }
    od
}

active proctype Nature() {
endNature:
    do
    :: d_step { faults > 0 && alive[0] && !killed[0] && arrived > 0 -> faults--; killed[0] = true }
    :: d_step { faults > 0 && alive[1] && !killed[1] && arrived > 0 -> faults--; killed[1] = true }
    :: d_step { faults > 0 && alive[2] && !killed[2] -> faults--; killed[2] = true }
    od
}

#define IS_OVER(x)  (c[x].over && c[x].copies == 0)
#define IS_AT_REST  (arrived == CONNECTIONS && IS_OVER(0) && IS_OVER(1) && stage == idle)

active proctype AtRest() {
    timeout;
    assert(IS_AT_REST);
    assert(alive[member] && !zombie[0] && !zombie[1] && !zombie[2]);
    assert(!alive[DRAINING] && (member == NEXT || !alive[NEXT]))
}

/* Nothing is lost or held for ever, and the upgrade comes to an end, one way or the other. */
ltl upgrades_end { <> [] IS_AT_REST }
