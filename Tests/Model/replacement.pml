/*
 * Replacement: a new generation of workers takes over from the old one (reload and upgrade alike), or comes to nothing.
 *
 * The old generation takes all traffic until every worker of the new one is ready and the listener that the new one does
 * not have is closed with its queue empty; the commit is one step. So many deaths of new workers before that give the
 * new generation up, and the old one never ceased to serve. While two generations would be draining, the next
 * replacement waits. The code: SupervisorState+Replacement. What exec adds to an upgrade is in upgrade.pml; what becomes
 * of connections that workers have, in migration.pml.
 */
#define WORKERS      2 /* of a generation */
#define GENERATIONS  4 /* the first, and one per command */
#define ALIVE_MAX    3 /* generations that have processes */
#define FAILURES_MAX 2 /* deaths at which a new generation is given up (three in the program) */
#define CONNECTIONS  2 /* they come to a listener that only the first generation has */

#ifndef FAULTS
#define FAULTS 2 /* deaths of workers, whenever */
#endif
byte faults = FAULTS;

/* A worker's number is generation * WORKERS + seat; the successor of one that died has its number too. */
#define COUNT         (GENERATIONS * WORKERS)
#define GENERATION(w) ((w) / WORKERS)

mtype = { none, booting, ready, draining, dead };
mtype process[COUNT] = none;
bool restarting[COUNT]; /* it died as one that takes traffic, and its successor is not ready */

/* What the supervisor thinks of a generation. */
mtype = { unborn, candidate, current, old };
mtype role[GENERATIONS] = unborn;

mtype = { idle, waiting, starting, retiring, emptying };
mtype stage = idle;

byte serving, target, failures; /* generations; deaths of the target's workers */
byte commands, answered;
bool isOpen = true;             /* the listener that the next generations do not have */
byte arrived, backlog, held;    /* its connections: ever, in its queue, accepted and not adopted */
byte adopted, counted;          /* what became of them */

#define IS_ALIVE(w)  (process[w] != none)
#define LIVES(g)     (IS_ALIVE((g) * WORKERS) || IS_ALIVE((g) * WORKERS + 1))
#define ALIVE        (LIVES(0) + LIVES(1) + LIVES(2) + LIVES(3))
#define IS_READY(w)  (process[w] == ready)
#define ALL_READY(g) (IS_READY((g) * WORKERS) && IS_READY((g) * WORKERS + 1))
/* Generations alive that neither serve nor are about to. */
#define DRAINS(g)    (LIVES(g) && role[g] == old)
#define DRAINING     (DRAINS(0) + DRAINS(1) + DRAINS(2) + DRAINS(3))
#define IS_DEAD(w)   (process[w] == dead)
#define ONE_IS_DEAD  (IS_DEAD(0) || IS_DEAD(1) || IS_DEAD(2) || IS_DEAD(3) || \
                      IS_DEAD(4) || IS_DEAD(5) || IS_DEAD(6) || IS_DEAD(7))

/* Workers that take traffic, or would if they had not died. */
#define TAKES(w)     (IS_READY(w) || restarting[w])

/* ---------------------------------------------------------------- the workers */

active [COUNT] proctype Worker() {
    byte w = _pid;
endWorker:
    do
    :: d_step { process[w] == booting -> process[w] = ready; restarting[w] = false }
    :: d_step { (process[w] == booting || process[w] == ready) && faults > 0 ->
           faults--;
           process[w] = dead;
           restarting[w] = (role[GENERATION(w)] == current)
       }
    /* It finishes what it has, or gives it to its successors. */
    :: process[w] == draining -> process[w] = dead
    od
}

/* ---------------------------------------------------------------- the supervisor */

inline spawn(g) {
    for (w : (g) * WORKERS .. (g) * WORKERS + WORKERS - 1) { process[w] = booting }
    w = 0;
    /* The bound on generations alive, and so on processes and memory. */
    assert(ALIVE <= ALIVE_MAX)
}

inline retire(g) {
    for (w : (g) * WORKERS .. (g) * WORKERS + WORKERS - 1) {
        if
        :: process[w] == booting || process[w] == ready -> process[w] = draining
        :: else
        fi;
        restarting[w] = false
    }
    w = 0;
    role[g] = old
}

/* Exactly one answer to each command. */
inline answer() { answered++; assert(answered <= commands) }

inline commit() {
#ifndef MUTATION_DRAIN_BEFORE_COMMIT
    retire(serving);
#endif
    serving = target;
    role[serving] = current;
    stage = idle;
#ifndef MUTATION_KEEPS_WHAT_NOBODY_KNOWS
    /* What the removed listener accepted, and no old worker adopted in time. */
    counted = counted + held;
    held = 0;
#endif
    /* One that died after all were ready is missed like any other. */
    for (w : serving * WORKERS .. serving * WORKERS + WORKERS - 1) {
        restarting[w] = wasReady && process[w] != ready
    }
    w = 0;
    answer()
}

inline roll_back() {
#ifdef MUTATION_ROLL_BACK_KEEPS_CANDIDATES
    role[target] = old;
#else
    retire(target);
#endif
    stage = idle;
    answer()
}

/* What a death means depends on whose it is. */
inline bury(w) {
    if
    :: role[GENERATION(w)] == current -> process[w] = booting
    :: role[GENERATION(w)] == candidate ->
        process[w] = none;
        failures++;
        if
        :: stage == starting && failures >= FAILURES_MAX -> roll_back()
        :: else -> process[w] = booting
        fi
    :: role[GENERATION(w)] == old -> process[w] = none
    fi
}

#ifdef MUTATION_NO_WAIT_FOR_DRAINING
#define MAY_BEGIN true
#else
#define MAY_BEGIN (DRAINING <= 1)
#endif
#ifdef MUTATION_COMMIT_BEFORE_ALL_READY
#define MAY_TAKE_OVER(g) (IS_READY((g) * WORKERS) || IS_READY((g) * WORKERS + 1))
#else
#define MAY_TAKE_OVER(g) ALL_READY(g)
#endif
#ifdef MUTATION_LISTENER_CLOSED_WITH_QUEUE
#define MAY_CLOSE true
#else
#define MAY_CLOSE (backlog == 0)
#endif

active proctype Supervisor() {
    byte w, one;
    bool wasReady; /* all candidates were ready together */

    atomic { spawn(0); role[0] = current };
    ALL_READY(0) || faults < FAULTS;
endIdle:
    do
    :: d_step { ONE_IS_DEAD ->
           do
           :: process[one] != dead -> one++
           :: else -> break
           od;
           bury(one);
           one = 0
       }
    :: d_step { stage == waiting && MAY_BEGIN ->
           stage = starting;
           failures = 0;
           wasReady = false;
           role[target] = candidate;
#ifdef MUTATION_DRAIN_BEFORE_COMMIT
           retire(serving);
#endif
           spawn(target)
       }
    :: d_step { stage == starting && MAY_TAKE_OVER(target) ->
           wasReady = ALL_READY(target);
           if
           :: isOpen -> stage = retiring
           :: else -> commit()
           fi
       }
    :: d_step { stage == retiring && MAY_CLOSE ->
           assert(backlog == 0); /* closing a listener resets what is in its queue */
           isOpen = false;
           stage = emptying
       }
    /* Either all has been handed out, or the time is over. */
    :: d_step { stage == emptying -> commit() }
    /* The traffic of the removed listener: only the first generation knows it. */
    :: d_step { isOpen && backlog > 0 -> backlog--; held++ }
    :: d_step { held > 0 && serving == 0 && (IS_READY(0) || IS_READY(1)) -> held--; adopted++ }
    od
}

/* ---------------------------------------------------------------- the world */

active proctype Operator() {
endOperator:
    do
    :: d_step { commands < GENERATIONS - 1 && role[0] != unborn ->
           commands++;
           if
           :: stage == idle -> target = commands; stage = waiting
           :: else -> answer() /* refused: one at a time */
           fi
       }
    od
}

active proctype Clients() {
endClients:
    do
    :: d_step { isOpen && arrived < CONNECTIONS -> arrived++; backlog++ }
    od
}

/* At every moment from the start on, all who should take traffic do, but for those who died just now. */
active proctype Watcher() {
endBefore:
    role[0] == current && ALL_READY(0);
endWatcher:
    d_step {
        !(TAKES(serving * WORKERS) && TAKES(serving * WORKERS + 1)) -> assert(false)
    }
}

/* ---------------------------------------------------------------- properties */

#define IS_SETTLED (commands == GENERATIONS - 1 && answered == commands && stage == idle && ALIVE == 1 && held == 0)

active proctype AtRest() {
    timeout;
    assert(IS_SETTLED && ALL_READY(serving));
    assert(arrived == adopted + counted + backlog && (isOpen || backlog == 0))
}

/* Every command is answered, and what is not wanted any more goes away. */
ltl replacements_end { <> [] IS_SETTLED }
