/* The workers of upgrade.pml: they notice nothing of an exec. */

mtype = { none, served, frozen };

active [WORKERS] proctype Worker() {
    byte w = _pid;
    mtype at[CONNECTIONS] = none;
    byte known[CONNECTIONS];
    byte version, seq, x, state;

endVacant:
    alive[w];
    atomic {
        if
        :: w == DRAINING && draining[w] && at[0] == none && c[0].copies == 0 && arrived == 0 ->
            /* What it has from the time before. */
            accepted(0);
            adopted_by(0, w);
            serving_begins(0, w, 0);
            known[0] = 1;
            at[0] = served
        :: else
        fi
    };
    {
endServing:
        do
        :: atomic { handoff[w]?version,seq,x,state ->
               assert(version <= speaks[w]);
               assert(seq == adopted[w]);
               at[x] = frozen
           };
           atomic {
               adopted_by(x, w);
               adopted[w]++; /* a step of its own in handoff.pml */
               serving_begins(x, w, state);
               known[x] = state + 1;
               at[x] = served;
               version = 0; seq = 0; x = 0; state = 0
           }
        :: atomic { draining[w] && (at[0] == served || at[1] == served) ->
               if
               :: at[0] == served -> x = 0
               :: at[1] == served -> x = 1
               fi;
               serving_pauses(x, w);
               at[x] = frozen;
               copied(x);
               offers[w]!x,known[x];
               x = 0
           }
        :: atomic { answers[w]?taken,x -> at[x] = none; known[x] = 0; dropped(x); x = 0 }
        :: atomic { at[0] == served -> serving_ends(0, w); at[0] = none; known[0] = 0; dropped(0) }
        :: atomic { at[1] == served -> serving_ends(1, w); at[1] = none; known[1] = 0; dropped(1) }
        :: draining[w] && at[0] == none && at[1] == none && empty(handoff[w]) -> killed[w] = true /* leaves */
        od
    } unless { killed[w] };
    d_step {
        worker_died(w);
        for (x : 0 .. CONNECTIONS - 1) {
            if
            :: at[x] != none -> at[x] = none; known[x] = 0; dropped(x)
            :: else
            fi
        }
        do
        :: nempty(handoff[w]) -> handoff[w]?version,seq,x,state; dropped(x)
        :: empty(handoff[w]) -> break
        od;
        do
        :: nempty(answers[w]) -> answers[w]?_,_
        :: empty(answers[w]) -> break
        od;
        version = 0; seq = 0; x = 0; state = 0;
        alive[w] = false; killed[w] = false; zombie[w] = true
    };
    goto endVacant
}
