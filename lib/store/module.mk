$(call library,maildir.c)
$(call unittest,test_maildir,test_maildir.c,store os base test)
