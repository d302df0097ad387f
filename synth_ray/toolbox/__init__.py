"""Toolbox: tools that really run, Python functions and MCP servers, each in a process of its own.

In: the programs that a job declares; a call (a name, JSON arguments, a JSON state). Out: the call's result as text, and the state
after it. Law: a program sees no network, no environment variable and no file that the job does not give it, and writes none; a
call that raises changes no state and its error is a result; one that hangs or dies is told apart. Not: which call is made
(recipes), nor whether it was made before (ask's journal).

Public: `programs.Program`, `programs.Face`, `programs.Called`, `toolbox.Toolbox`.
"""
