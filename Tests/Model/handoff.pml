/*
 * The hand-off: sockets from the supervisor to two workers, through crashes, hangs, refusals and full descriptor tables.
 *
 * One process per worker slot, the supervisor, and what happens to them (Nature, Kernel). The code: WorkerPage.adopt and
 * .reject, SupervisorPage.read, InflightQueue, PendingQueue, SupervisorState+Handoff, WorkerProcess.adopt.
 * A packet carries one socket here; README.md says why that is enough.
 *
 * With -DSUPERVISOR_DIES the supervisor may be killed at any point.
 */
#ifndef CONNECTIONS
#define CONNECTIONS 2
#endif
#ifndef CAPACITY
#define CAPACITY 2 /* connections of one worker */
#endif
#define SLOTS          2
#define QUEUE          1 /* packets in a hand-off socket */
#define RING           1 /* rejections in a page that the supervisor has not seen */
#define DELIVERIES_MAX 2

#include "connection.pml"

/* How many things may go wrong in all: a worker crashes or is stopped, a descriptor is truncated, a send is refused. */
#ifndef FAULTS
#define FAULTS 2
#endif
byte faults = FAULTS;

/* The status page. Worker's words: */
typedef Page {
    byte adopted; /* the sequence number of the next connection that is not adopted */
    byte credit;
    byte rejection[RING];
    byte rejectionsWritten;
    byte rejectionsSeen; /* the supervisor's word */
};
Page page[SLOTS];

/* The hand-off sockets, towards the workers: sequence number, connection. */
chan handoff[SLOTS] = [QUEUE] of { byte, byte };

/* Processes, as the kernel sees them. */
bool spawned[SLOTS], ready[SLOTS], killed[SLOTS], stopped[SLOTS], zombie[SLOTS];
bool isForGood;       /* who is stopped now stays so until it is killed */
bool killSent[SLOTS]; /* SIGKILL is on its way */
bool supervisorKilled, supervisorDead;

/*
 * A packet may need a rejection, so there must be room for one before it is received. Once the supervisor is dead
 * nobody reads rejections any more: a worker that went on waiting for room would wait for ever.
 */
#ifdef MUTATION_WAITS_FOR_A_DEAD_SUPERVISOR
#define MAY_RECEIVE(w) CAN_REJECT(w)
#else
#define MAY_RECEIVE(w) (CAN_REJECT(w) || supervisorDead)
#endif
#define CAN_REJECT(w) (page[w].rejectionsWritten - page[w].rejectionsSeen < RING)

#include "handoff_worker.pml"
#include "handoff_supervisor.pml"

/* ---------------------------------------------------------------- what happens to them */

active proctype Nature() {
endNature:
    do
    :: d_step { faults > 0 && spawned[0] && !killed[0] -> faults--; killed[0] = true }
    :: d_step { faults > 0 && spawned[1] && !killed[1] -> faults--; killed[1] = true }
    :: d_step { faults > 0 && ready[0] -> faults--; stopped[0] = true }
    :: d_step { faults > 0 && ready[1] -> faults--; stopped[1] = true }
    /* SIGCONT, if it comes at all. */
    :: d_step { stopped[0] && !isForGood -> stopped[0] = false }
    :: d_step { stopped[1] && !isForGood -> stopped[1] = false }
#ifndef SUPERVISOR_DIES
    :: d_step { (stopped[0] || stopped[1]) && !isForGood -> isForGood = true }
#else
    :: d_step { arrived > 0 && !supervisorDead && !supervisorKilled -> supervisorKilled = true }
#endif
    od
}

/* SIGKILL takes effect a moment after kill(2); a worker that was only stopped may go on until then. */
active proctype Kernel() {
endKernel:
    do
    :: d_step { killSent[0] -> killSent[0] = false; killed[0] = spawned[0] }
    :: d_step { killSent[1] -> killSent[1] = false; killed[1] = spawned[1] }
    od
}

/* ---------------------------------------------------------------- properties */

#define IS_OVER(x) (c[x].over && c[x].copies == 0)
#if CONNECTIONS > 2
#define ALL_CLOSED (c[0].copies == 0 && c[1].copies == 0 && c[2].copies == 0)
#define ALL_OVER   (IS_OVER(0) && IS_OVER(1) && IS_OVER(2))
#else
#define ALL_CLOSED (c[0].copies == 0 && c[1].copies == 0)
#define ALL_OVER   (IS_OVER(0) && IS_OVER(1))
#endif

/* When nothing can happen any more: nothing is held, everything accepted is accounted for, and nobody lingers. */
active proctype AtRest() {
    timeout;
    assert(ALL_CLOSED);
    assert(supervisorDead || ALL_OVER);
    assert(!supervisorDead || (!spawned[0] && !spawned[1]))
}

#ifndef SUPERVISOR_DIES
/* No socket is held for ever: whatever crashes, hangs or refuses, in the end each has been served or counted. */
ltl nothing_held_for_ever { <> ALL_OVER }
#endif
