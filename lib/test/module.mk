$(call library,tap.c)
$(call unittest,test_tap,test_tap.c,base test)
