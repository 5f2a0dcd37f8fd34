$(call library,log.c)
