$(call tool,load,bench/load.c,io base)
$(call tool,sink,bench/sink.c,io base)
$(call tool,mkmail,bench/mkmail.c,base,-lm)
