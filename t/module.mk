$(call tool,load,bench/load.c,io base)
