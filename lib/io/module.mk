$(call library,loop.c)
$(call unittest,test_loop,test_loop.c,io base test)
