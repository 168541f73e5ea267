/*
 * Migration: a draining worker gives its connections up, and the supervisor hands them to its successors.
 *
 * The giver freezes a connection, so that nobody operates on it, and offers it with its descriptors and its state. It
 * keeps its own copy until the answer: taken, it closes it; refused, it thaws the connection and goes on serving. The
 * supervisor says `taken` before it sends the connection to anybody; from there on it is like a freshly accepted one.
 * Whoever dies at whatever point, two processes never serve the connection, and no copy is resumed that was taken.
 * The code: SupervisorState+Offers, and the worker's part of the hand-off.
 *
 * With -DSUPERVISOR_DIES the supervisor may be killed at any point.
 */
#define CONNECTIONS 2
#define TAKERS      2
#define GIVER       TAKERS /* its number among the workers */
#define QUEUE       1      /* packets in a hand-off socket */
#define NUMBERS     4      /* offers are numbered modulo this */

#include "connection.pml"

/* How many things may go wrong in all: a worker crashes, or the supervisor finds room for an offer nowhere. */
#ifndef FAULTS
#define FAULTS 2
#endif
byte faults = FAULTS;

mtype = { taken, refused };

chan offers = [CONNECTIONS] of { byte, byte, byte };        /* from the giver: number, connection, state */
chan answers = [QUEUE] of { mtype, byte };                   /* to the giver: number */
chan handoff[TAKERS] = [QUEUE] of { byte, byte, byte };      /* sequence number, connection, state */
byte adopted[TAKERS];                                        /* in the takers' pages */

bool spawned[TAKERS], zombie[TAKERS], killed[TAKERS];
bool begun, giverKilled, giverDead, supervisorKilled, supervisorDead;

#include "migration_workers.pml"

/* ---------------------------------------------------------------- the supervisor */

chan inflight[TAKERS] = [CONNECTIONS] of { byte };
chan pending = [CONNECTIONS] of { byte }; /* taken, or back from a taker that died: waits for a taker */
byte first[TAKERS];                       /* the lowest sequence number not adopted */
byte blob[CONNECTIONS];                   /* the frozen states */
bool mine[CONNECTIONS];                   /* our copies */

#define CAN_SEND(w) (spawned[w] && nfull(handoff[w]))

inline let_go(x) { mine[x] = false; dropped(x) }

inline send(w, x) {
    copied(x);
    handoff[w]!first[w] + len(inflight[w]),x,blob[x];
#ifdef MUTATION_RELEASE_AT_SEND
    let_go(x);
#endif
    inflight[w]!x
}

/* From here on the supervisor answers for the connection. */
inline takes_over(x) {
    assert(c[x].answers == WORKER(GIVER) || (giverDead && c[x].over));
    assert(c[x].operations == blob[x]);
    c[x].answers = SUPERVISOR;
    c[x].over = false
}

inline tell(n) {
    if
    :: giverDead
    :: nfull(answers) && !giverDead -> answers!taken,n
    fi
}

/*
 * An offer is taken by saying so. While the giver's socket is full it cannot be told, and must not be passed over: it
 * would resume the connection if we died. A dead giver needs no answer; what it offered may be all that is left.
 */
inline take(n, x) {
#ifdef MUTATION_SEND_BEFORE_TAKEN
    if
    :: CAN_SEND(0) -> takes_over(x); send(0, x)
    :: !spawned[0] || full(handoff[0]) -> takes_over(x); pending!x
    fi;
    tell(n)
#else
#ifdef MUTATION_TAKE_UNTOLD
    if
    :: nfull(answers) && !giverDead -> answers!taken,n
    :: else
    fi;
#else
    tell(n);
#endif
    takes_over(x);
    pending!x
#endif
}

inline refuse(n, x) {
    /* Nobody else has it any more, and it can wait: the client would lose it for want of room. */
    assert(!giverDead);
#ifndef MUTATION_REFUSED_COPY_KEPT
    let_go(x);
#endif
    answers!refused,n
}

inline read_page(w) {
    do
    :: first[w] < adopted[w] ->
        inflight[w]?x;
        first[w]++;
#ifndef MUTATION_RELEASE_AT_SEND
        let_go(x)
#endif
    :: else -> break
    od;
    x = 0
}

/* Reaped: what is in the page is the truth, and what it had not adopted goes to the other. */
inline reap(w) {
    zombie[w] = false;
    read_page(w);
    do
    :: nempty(inflight[w]) -> inflight[w]?x; pending!!x
    :: empty(inflight[w]) -> break
    od;
    x = 0;
    adopted[w] = 0;
    first[w] = 0;
    spawned[w] = true
}

active proctype Supervisor() {
    byte n, x, state;
    {
        atomic { begun -> spawned[0] = true; spawned[1] = true };
endIdle:
        do
        :: atomic { offers?n,x,state -> blob[x] = state; state = 0; mine[x] = true };
           if
#ifdef MUTATION_SEND_BEFORE_TAKEN
           :: take(n, x); n = 0; x = 0
#else
           :: atomic { take(n, x); n = 0; x = 0 }
#endif
#ifdef MUTATION_REFUSES_THE_LAST_COPY
           :: atomic { faults > 0 -> faults--; refuse(n, x); n = 0; x = 0 }
#else
           :: atomic { faults > 0 && !giverDead -> faults--; refuse(n, x); n = 0; x = 0 }
#endif
           fi
        :: atomic { nempty(pending) && CAN_SEND(0) -> pending?x; send(0, x); x = 0 }
        :: atomic { nempty(pending) && CAN_SEND(1) -> pending?x; send(1, x); x = 0 }
        :: atomic { first[0] < adopted[0] && spawned[0] -> read_page(0) }
        :: atomic { first[1] < adopted[1] && spawned[1] -> read_page(1) }
        :: atomic { zombie[0] -> reap(0) }
        :: atomic { zombie[1] -> reap(1) }
        od
    } unless { supervisorKilled };
    d_step {
        supervisorKilled = false;
        supervisorDead = true;
        supervisor_died();
        for (x : 0 .. CONNECTIONS - 1) {
            if
            :: mine[x] -> let_go(x)
            :: else
            fi
        }
        do
        :: nempty(offers) -> offers?n,x,state; dropped(x)
        :: empty(offers) -> break
        od;
        n = 0; x = 0; state = 0
    }
}

/* ---------------------------------------------------------------- what happens to them, and what must hold */

active proctype Nature() {
endNature:
    do
    :: d_step { faults > 0 && begun && !giverDead && !giverKilled -> faults--; giverKilled = true }
    :: d_step { faults > 0 && spawned[0] && !killed[0] -> faults--; killed[0] = true }
    :: d_step { faults > 0 && spawned[1] && !killed[1] -> faults--; killed[1] = true }
#ifdef SUPERVISOR_DIES
    :: d_step { begun && !supervisorDead && !supervisorKilled -> supervisorKilled = true }
#endif
    od
}

#define ALL_CLOSED (begun && c[0].copies == 0 && c[1].copies == 0)

active proctype AtRest() {
    timeout;
    assert(ALL_CLOSED);
    assert(supervisorDead || (c[0].over && c[1].over));
    assert(giverDead && (!supervisorDead || (!spawned[0] && !spawned[1])))
}

/* No connection is held for ever, frozen or in flight. */
ltl nothing_held_for_ever { <> ALL_CLOSED }
