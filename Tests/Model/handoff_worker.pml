/* The worker of handoff.pml: one process per slot, which is one worker after the other. */

inline store_adopted(w) { page[w].adopted++ }

inline adopt(w, x) {
#ifdef MUTATION_SERVE_BEFORE_ADOPTED
    /* The first operation is submitted before the page says that the connection is ours. */
    atomic { !stopped[w] -> serving_begins(x, w, 0) };
    atomic { !stopped[w] -> live++; page[w].credit = CAPACITY - live; adopted_by(x, w); store_adopted(w) }
#else
#ifdef MUTATION_CREDIT_AFTER_ADOPTED
    /* Whoever sees the adoption may still see a credit that counts this connection as room. */
    atomic { !stopped[w] -> live++; adopted_by(x, w); store_adopted(w) };
    page[w].credit = CAPACITY - live;
#else
    atomic { live++; page[w].credit = CAPACITY - live };
    atomic { !stopped[w] -> adopted_by(x, w); store_adopted(w) };
#endif
    atomic { !stopped[w] -> serving_begins(x, w, 0); seq = 0; x = 0 }
#endif
}

/* The descriptor table was full: the kernel dropped the descriptor (MSG_CTRUNC). */
inline reject(w, seq) {
#ifdef MUTATION_ADOPTED_BEFORE_REJECTION
    store_adopted(w);
#endif
    d_step {
        if
        :: CAN_REJECT(w) ->
            page[w].rejection[page[w].rejectionsWritten % RING] = seq;
            page[w].rejectionsWritten++
        :: else -> assert(supervisorDead)
        fi
    };
#ifndef MUTATION_ADOPTED_BEFORE_REJECTION
    store_adopted(w)
#endif
}

inline leave(w, x) {
    serving_ends(x, w);
    open[x] = false;
    dropped(x);
    live--;
    page[w].credit = CAPACITY - live;
    x = 0
}

active [SLOTS] proctype Worker() {
    byte w = _pid;
    byte live;
    bool open[CONNECTIONS]; /* its descriptor table */
    byte seq, x;
    bool rejected;

endVacant:
    spawned[w];
    d_step { page[w].credit = CAPACITY; ready[w] = true };
    {
endServing:
        do
        /* What is not received is not adopted. */
        :: atomic {
               !stopped[w] && MAY_RECEIVE(w) && nempty(handoff[w]) ->
               handoff[w]?seq,x;
               /* A gap or a repetition would make the worker distrust the supervisor and leave. */
               assert(seq == page[w].adopted);
               if
               :: faults > 0 -> faults--; dropped(x); rejected = true
               :: open[x] = true; assert(live < CAPACITY)
               fi
           };
           if
           :: rejected -> rejected = false; reject(w, seq)
           :: else -> adopt(w, x)
           fi
        /* A client leaves, or its time is over. */
        :: d_step { !stopped[w] && live > 0 && open[0] -> x = 0; leave(w, x) }
        :: d_step { !stopped[w] && live > 0 && open[1] -> x = 1; leave(w, x) }
#if CONNECTIONS > 2
        :: d_step { !stopped[w] && live > 0 && open[2] -> x = 2; leave(w, x) }
#endif
        /* End of file comes after the last packet: what was sent is still served. */
        :: supervisorDead && !stopped[w] && empty(handoff[w]) && live == 0 -> break
        od;
        killed[w] = true;
        false
    } unless { killed[w] };
    /* The kernel closes its descriptors, and with its end of the socket what was waiting there. */
    d_step {
        worker_died(w);
        for (x : 0 .. CONNECTIONS - 1) {
            if
            :: open[x] -> open[x] = false; dropped(x)
            :: else
            fi
        }
        do
        :: nempty(handoff[w]) -> handoff[w]?seq,x; dropped(x)
        :: empty(handoff[w]) -> break
        od;
        live = 0; seq = 0; x = 0; rejected = false;
        spawned[w] = false; ready[w] = false; killed[w] = false; killSent[w] = false;
        stopped[w] = false; isForGood = false;
        zombie[w] = true
    };
    goto endVacant
}
