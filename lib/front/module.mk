$(call library,front.c parent.c template.c inetd.c listen.c limit.c reg.c handover.c)
