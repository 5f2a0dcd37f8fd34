$(call library,log.c)
$(call program,log,main_log.c frame.c,conf io os log base)
$(call unittest,test_log,test_log.c frame.c,log base test)
