$(call library,pcre.c)
