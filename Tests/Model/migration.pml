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

/* ---------------------------------------------------------------- the worker that drains */

mtype = { gone, served, frozen };

inline thaw(x) {
    serving_begins(x, GIVER, known[x]);
    known[x]++;
    at[x] = served
}

inline freeze_and_offer(x) {
#ifndef MUTATION_OFFER_BEFORE_FROZEN
    serving_pauses(x, GIVER);
#endif
    at[x] = frozen;
    number[x] = next;
    next = (next + 1) % NUMBERS;
    copied(x);
    offers!number[x],x,known[x];
#ifdef MUTATION_CLOSE_AT_OFFER
    dropped(x)
#endif
}

#ifdef MUTATION_CLOSE_AT_OFFER
#define CLOSE_COPY(x) skip
#else
#define CLOSE_COPY(x) dropped(x)
#endif

/* Which connection was offered under this number. */
#define OFFERED(x, n) (at[x] == frozen && number[x] == n)

active proctype Giver() {
    mtype at[CONNECTIONS], kind;
    byte known[CONNECTIONS], number[CONNECTIONS]; /* the state of each, the number of its offer */
    byte next, n, x;

    d_step {
        for (x : 0 .. CONNECTIONS - 1) {
            accepted(x);
            adopted_by(x, GIVER);
            serving_begins(x, GIVER, 0);
            known[x] = 1;
            at[x] = served
        }
        x = 0;
        begun = true
    };
    {
        do
        :: atomic { at[0] == served && !supervisorDead -> freeze_and_offer(0) }
        :: atomic { at[1] == served && !supervisorDead -> freeze_and_offer(1) }
        /* A client may leave as long as it is served. */
        :: atomic { at[0] == served -> serving_ends(0, GIVER); dropped(0); at[0] = gone }
        :: atomic { at[1] == served -> serving_ends(1, GIVER); dropped(1); at[1] = gone }
        :: atomic { answers?kind,n ->
               if
               :: OFFERED(0, n) -> x = 0
               :: OFFERED(1, n) -> x = 1
               :: else -> assert(false) /* an answer to nothing */
               fi;
               if
#ifdef MUTATION_OFFER_BEFORE_FROZEN
               :: kind == taken -> serving_pauses(x, GIVER); at[x] = gone; CLOSE_COPY(x)
               :: kind == refused -> at[x] = served
#else
               :: kind == taken -> at[x] = gone; CLOSE_COPY(x)
               :: kind == refused -> thaw(x)
#endif
               fi;
               kind = 0; n = 0; x = 0
           }
        /* End of file, after every answer has been read: what was not taken by now never will be. */
#ifdef MUTATION_ORPHANED_BEFORE_READING_ALL
        :: atomic { supervisorDead && at[0] == frozen -> thaw(0) }
        :: atomic { supervisorDead && at[1] == frozen -> thaw(1) }
#else
        :: atomic { supervisorDead && empty(answers) && at[0] == frozen -> thaw(0) }
        :: atomic { supervisorDead && empty(answers) && at[1] == frozen -> thaw(1) }
#endif
#ifdef MUTATION_RESUMES_UNANSWERED
        /* Tired of waiting. */
        :: atomic { at[0] == frozen -> thaw(0) }
#endif
        :: at[0] == gone && at[1] == gone -> giverKilled = true /* leaves */
        od
    } unless { giverKilled };
    d_step {
        worker_died(GIVER);
        for (x : 0 .. CONNECTIONS - 1) {
            if
            :: at[x] == served -> dropped(x)
            :: at[x] == frozen -> CLOSE_COPY(x)
            :: else
            fi;
            at[x] = gone; known[x] = 0; number[x] = 0
        }
        do
        :: nempty(answers) -> answers?_,_
        :: empty(answers) -> break
        od;
        x = 0; next = 0;
        giverDead = true
    }
}

/* ---------------------------------------------------------------- the workers that take over */

active [TAKERS] proctype Taker() {
    byte w = _pid - 1;
    bool open[CONNECTIONS];
    byte seq, x, state;

endVacant:
    spawned[w];
    {
endServing:
        do
        :: atomic { handoff[w]?seq,x,state -> assert(seq == adopted[w]); open[x] = true };
           atomic { adopted_by(x, w); adopted[w]++ };
           atomic { serving_begins(x, w, state); seq = 0; x = 0; state = 0 }
        :: atomic { open[0] && c[0].serving == WORKER(w) -> serving_ends(0, w); open[0] = false; dropped(0) }
        :: atomic { open[1] && c[1].serving == WORKER(w) -> serving_ends(1, w); open[1] = false; dropped(1) }
        :: supervisorDead && empty(handoff[w]) && !open[0] && !open[1] -> killed[w] = true /* leaves */
        od
    } unless { killed[w] };
    d_step {
        worker_died(w);
        for (x : 0 .. CONNECTIONS - 1) {
            if
            :: open[x] -> open[x] = false; dropped(x)
            :: else
            fi
        }
        do
        :: nempty(handoff[w]) -> handoff[w]?seq,x,state; dropped(x)
        :: empty(handoff[w]) -> break
        od;
        seq = 0; x = 0; state = 0;
        spawned[w] = false; killed[w] = false; zombie[w] = true
    };
    goto endVacant
}

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
#ifndef MUTATION_REFUSED_COPY_KEPT
    let_go(x);
#endif
    if
    :: giverDead
    :: nfull(answers) && !giverDead -> answers!refused,n
    fi
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
           :: atomic { faults > 0 -> faults--; refuse(n, x); n = 0; x = 0 }
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
