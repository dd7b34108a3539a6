"""The native executor: steps of filters that describe themselves, in C++.

Models, emissions and procedures export plans (`plan`), which `running` gives to an `Engine` where the library is
built; torch is the reference, and what computes everything else.
"""
