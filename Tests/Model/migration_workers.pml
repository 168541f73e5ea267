/* The workers of migration.pml: one that drains, and those that take over. */

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
