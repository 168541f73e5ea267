/*
 * What all models here mean by a client's connection, and what must never happen to one.
 *
 * Nothing in this file is part of the program. It is the observer: it counts descriptors as the kernel does, and knows
 * at each moment which process answers for a connection. The models tell it what their processes do; it asserts.
 *
 *   - The last descriptor of a connection is closed on purpose (served to its end, or closed by the supervisor with a
 *     counted reason), or because the process that answered for it died. Otherwise the client has lost it to a mistake.
 *   - Responsibility moves from one process to the next and never forks: adopted once per hand-over.
 *   - One process at a time operates on it, starting from exactly what the last one left behind.
 *
 * A model defines CONNECTIONS and includes this file.
 */

/* Who answers for a connection, who operates on it. */
#define NOBODY     0
#define SUPERVISOR 1
#define ORPHAN     2 /* the supervisor died with it; a worker whose socket still holds it may adopt it */
#define WORKER(w)  (3 + (w))

typedef Connection {
    byte copies;     /* descriptors: in processes, and in packets on their way */
    byte answers;
    byte serving;
    byte operations; /* how often a process began to operate on it: stands for the bytes exchanged */
    bool over;       /* served to its end, closed with a counted reason, or dead with who answered for it */
};

Connection c[CONNECTIONS];

/* How many have arrived, and how many of them the supervisor closed with a reason in a counter. */
byte arrived, counted;

/* For loops inside d_step; 0 in between, so that it adds no states. */
hidden byte each;

inline accepted(x) {
    c[x].copies = 1;
    c[x].answers = SUPERVISOR;
    arrived++
}

inline copied(x) { c[x].copies++ }

inline dropped(x) {
    assert(c[x].copies > 0);
    c[x].copies--;
    /* Otherwise the client sees a reset although nobody who answered for it died or meant to close it. */
    assert(c[x].copies > 0 || c[x].over || c[x].answers == ORPHAN)
}

inline closed_counted(x) {
    assert(c[x].answers == SUPERVISOR);
    c[x].answers = NOBODY;
    c[x].over = true;
    counted++
}

inline adopted_by(x, w) {
    /* Adopted exactly once: whoever adopted it before would still answer for it, or it would be over. */
    assert(c[x].answers == SUPERVISOR || c[x].answers == ORPHAN);
    c[x].answers = WORKER(w)
}

/* `known` is what the worker was told of the connection: the operations before, so none for a fresh one. */
inline serving_begins(x, w, known) {
    assert(c[x].serving == NOBODY);
    assert(c[x].operations == known);
    c[x].serving = WORKER(w);
    c[x].operations++
}

inline serving_pauses(x, w) {
    assert(c[x].serving == WORKER(w));
    c[x].serving = NOBODY
}

inline serving_ends(x, w) {
    assert(c[x].serving == WORKER(w) && c[x].answers == WORKER(w));
    c[x].serving = NOBODY;
    c[x].answers = NOBODY;
    c[x].over = true
}

inline worker_died(w) {
    for (each : 0 .. CONNECTIONS - 1) {
        if
        :: c[each].serving == WORKER(w) -> c[each].serving = NOBODY
        :: else
        fi;
        if
        :: c[each].answers == WORKER(w) -> c[each].answers = NOBODY; c[each].over = true
        :: else
        fi
    }
    each = 0
}

inline supervisor_died() {
    for (each : 0 .. CONNECTIONS - 1) {
        if
        :: c[each].answers == SUPERVISOR -> c[each].answers = ORPHAN
        :: else
        fi
    }
    each = 0
}
