"""What is asked of a node in its own language (`rabbitmqctl eval`), that every stream it keeps is there again.

A broker keeps a log of what is under way with its streams: the *coordination* directory, beside the streams' data. RabbitMQ
3.10 that ends (crash, full disk, even an orderly stop) between the start of a stream's writer and the note of it in the
queues' table takes that step for under way for ever after (``fail_active_actions`` passes over ``updating_mnesia``): the
stream's writer runs at each start, and the queue is not found ("home node is down or inaccessible"). One that lost an entry
in the middle of that log stops there, each time. The streams themselves are whole in both cases, and a node that is alone
finds all of them again without that log. From 4.0 on the directory holds more than that, and is left alone.
"""

from __future__ import annotations

__all__ = ["COORDINATION", "FLUSH", "READ_IN", "SET_ASIDE", "all_are_back"]

COORDINATION = "coordination"

FLUSH = "catch mnesia:sync_log(), [dets:sync(Table) || Table <- dets:all()], ok."
"""Write down what was declared."""

SET_ASIDE = f"""
case rabbit_misc:version() of
    "3." ++ _ -> Log = filename:join(rabbit_mnesia:dir(), "{COORDINATION}"),
                 file:rename(Log, Log ++ "." ++ integer_to_list(erlang:system_time()));
    Version -> Version
end.
"""
"""Move the log out of the way of the next start; `ok` if that was done. The node has to be killed then, not stopped."""

READ_IN = """\
[rabbit_stream_coordinator:new_stream(Q, node()) || Q <- mnesia:dirty_match_object(rabbit_durable_queue, \
amqqueue:pattern_match_on_type(rabbit_stream_queue))]."""
"""Begin a new log with all streams of this node, on which it was started without one."""

_EVERY_STREAM_LIVES = """
Kept = case erlang:function_exported(rabbit_amqqueue, list_durable, 0) of
           true -> rabbit_amqqueue:list_durable();
           false -> mnesia:dirty_match_object(rabbit_durable_queue, amqqueue:pattern_match_all())
       end,
Streams = [amqqueue:get_name(Q) || Q <- Kept, amqqueue:get_type(Q) =:= rabbit_stream_queue],
Lives = fun(Name) -> case rabbit_amqqueue:lookup(Name) of
                         {ok, Q} -> (catch is_process_alive(amqqueue:get_pid(Q))) =:= true;
                         _ -> false
                     end
        end,
Wait = fun(_, 0) -> false;
          (Again, N) -> case lists:all(Lives, Streams) of
                            true -> true;
                            false -> timer:sleep(20), Again(Again, N - 1)
                        end
       end,
Wait(Wait, %d).
"""


def all_are_back(within_s: float) -> str:
    """Whether each stream has a process of this life of the node, which is waited for: `true` or `false`.

    One that is not back is missing in the table of queues, or stands there with a process of an earlier life (`catch`: asking
    after such a one is an error in itself). Queues of other types are back before the door opens.
    """
    return _EVERY_STREAM_LIVES % round(within_s / 0.02)
