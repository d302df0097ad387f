"""vLLM: one engine, in a process of its own, asked over a pipe.

In: prompts, on any event loop. Out: completions, in the order they finish. Law: the engine's process does nothing but step;
an ask that vLLM refuses fails alone, an engine that dies fails every ask it held. vLLM is imported in `engine` and
`internals` only. Not: which request comes next (drive), what a recipe does with an answer.

Public: `teacher.VllmTeacher`, `pooling.VllmScorer`, `host.ProcessHost`, `host.ThreadHost`.
"""
